// What can be asked of a running receiver, by signals and over its control socket: read the
// configuration again, drain, say how it is. One place, so that both do the same and say the same.
//
// Thread: any.
#pragma once

#include <atomic>
#include <expected>
#include <memory>
#include <string>

#include "cli/serve_config.h"
#include "server/control.h"

namespace mxring::server {
class Journal;
class Server;
}  // namespace mxring::server

namespace mxring::cli {

class ServeActions {
 public:
  ServeActions(const ServeOptions& options, server::Server& receiver, server::Journal& journal)
      : options_(options), receiver_(receiver), journal_(journal) {}

  // Reads the file again, flags over it as at the start. All mistakes, or what changed; both are
  // said in the journal too.
  std::expected<std::string, std::string> reload();
  // False when it drains already.
  bool drain();
  bool draining() const { return draining_.load(std::memory_order_relaxed); }

  // Opens the control socket. A problem with one that the configuration names is an error; with the
  // one that is there by default it is a notice, and no socket.
  std::expected<std::unique_ptr<server::Control>, std::string> open_control(
      const server::Config& config);

 private:
  const ServeOptions& options_;
  server::Server& receiver_;
  server::Journal& journal_;
  std::atomic<bool> draining_{false};
};

}  // namespace mxring::cli
