// TLS between nodes, with what all nodes of a cluster have: one certificate, its key, and the authority that both sides
// check the other's certificate against. Host names are not checked: nodes are known by their addresses, and whoever has a
// certificate of that authority is one of the cluster.
#pragma once

#include <memory>
#include <string>

namespace asio::ssl {
class context;
}

namespace klaw::dataplane {

// Paths of PEM files.
struct TlsFiles {
  std::string certificate;  // with its chain
  std::string key;
  std::string authority;
};

using TlsContext = std::shared_ptr<asio::ssl::context>;

// Throws std::runtime_error that names the file which can't be used, and why.
[[nodiscard]] TlsContext load_tls(const TlsFiles& files);

}  // namespace klaw::dataplane
