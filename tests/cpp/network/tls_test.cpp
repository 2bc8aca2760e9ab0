// TLS between nodes: with the cluster's certificate all goes as without, and nobody gets in who has none of it.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <dataplane/io/tls.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "support/network.hpp"

namespace klaw::dataplane::test {
namespace {

using testing::HasSubstr;

template <class T, void (*kFree)(T*)>
struct Free {
  void operator()(T* object) const noexcept { kFree(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;

void write(const std::string& path, const auto& print) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(print(file), 1);
  std::fclose(file);
}

// A certificate that is its own authority, and its key, as PEM files in the folder.
TlsFiles make_certificate(const std::filesystem::path& folder, const std::string& name) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate.get(), subject);
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  TlsFiles files{.certificate = folder / (name + ".crt"), .key = folder / (name + ".key"), .authority = {}};
  files.authority = files.certificate;
  write(files.certificate, [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); });
  write(files.key,
        [&](std::FILE* file) { return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  return files;
}

class Tls : public Network {
 protected:
  Tls() : tls(load_tls(make_certificate(folder_, "cluster"))) {
    settings_.unix_path.clear();
    settings_.tls = tls;
  }
  [[nodiscard]] std::unique_ptr<Client> client(TlsContext context, Duration limit = seconds(10)) {
    return std::make_unique<Client>(endpoint(false, true), limit, std::move(context));
  }

  TlsContext tls;
};

TEST_F(Tls, MessagesPassInOrderAndInPieces) {
  start();
  const auto both = client(tls);
  const Registration tx = both->open(Side::sender);
  const Registration rx = both->open(Side::receiver);
  const std::string large(3 * 1024 * 1024 + 7, 'x');
  for (int i = 0; i < 200; ++i) {
    const std::string text = i % 50 == 49 ? large : std::to_string(i);
    ASSERT_EQ(both->send(tx, text), "done");
    ASSERT_EQ(both->recv(rx), text);
  }
}

TEST_F(Tls, WhoSpeaksNoTlsIsTurnedAway) {
  start();
  const auto plain = client(nullptr, milliseconds(500));
  EXPECT_THAT(plain->send(plain->open(Side::sender), "a"), HasSubstr("can't be reached"));
  EXPECT_TRUE(log.has("TLS: "));
}

TEST_F(Tls, WhoHasAnotherAuthoritysCertificateIsTurnedAway) {
  start();
  const auto stranger = client(load_tls(make_certificate(folder_, "stranger")), milliseconds(500));
  EXPECT_THAT(stranger->send(stranger->open(Side::sender), "a"), HasSubstr("TLS: "));
  const auto friendly = client(tls);
  EXPECT_EQ(friendly->send(friendly->open(Side::sender), "a"), "done");
}

TEST_F(Tls, AClientDoesNotTalkToABrokerWithoutIt) {
  settings_.tls = nullptr;
  start();
  const auto careful = client(tls, milliseconds(500));
  EXPECT_THAT(careful->send(careful->open(Side::sender), "a"), HasSubstr("can't be reached"));
}

TEST_F(Tls, AFileThatCannotBeUsedIsNamed) {
  TlsFiles files = make_certificate(folder_, "other");
  files.key = folder_ / "nowhere.key";
  EXPECT_THAT([&] { std::ignore = load_tls(files); },
              testing::ThrowsMessage<std::runtime_error>(HasSubstr("the key '" + files.key + "' can't be used")));
}

}  // namespace
}  // namespace klaw::dataplane::test
