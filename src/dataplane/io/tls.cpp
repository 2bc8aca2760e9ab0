#include <stdexcept>
#include <system_error>

#include <asio/ssl/context.hpp>
#include <dataplane/io/tls.hpp>

namespace klaw::dataplane {

namespace {

template <class F>
void use(const std::string& what, const std::string& file, F f) {
  try {
    f();
  } catch (const std::system_error& error) {
    throw std::runtime_error("TLS: the " + what + " '" + file + "' can't be used: " + error.what());
  }
}

}  // namespace

TlsContext load_tls(const TlsFiles& files) {
  using asio::ssl::context;
  auto tls = std::make_shared<context>(context::tls);
  tls->set_options(context::default_workarounds | context::no_sslv2 | context::no_sslv3 | context::no_tlsv1 |
                   context::no_tlsv1_1);
  use("certificate", files.certificate, [&] { tls->use_certificate_chain_file(files.certificate); });
  use("key", files.key, [&] { tls->use_private_key_file(files.key, context::pem); });
  use("authority", files.authority, [&] { tls->load_verify_file(files.authority); });
  tls->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  return tls;
}

}  // namespace klaw::dataplane
