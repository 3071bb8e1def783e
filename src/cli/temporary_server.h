// `mxring serve` as a child process for the time of a measurement: this very program, with its
// configuration, log and complaints in a temporary folder that goes when it does. It also ends when
// this process ends in whatever way.
//
// Thread: one. Failure: start() says in one line why the server is not there.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "server/config.h"

namespace mxring::cli {

class TemporaryServer {
 public:
  using Started = std::expected<std::unique_ptr<TemporaryServer>, std::string>;

  // The configuration is taken as it is, but for log.dir, which is put below `parent` (made when it
  // is not there). Its listeners should have port 0.
  static Started start(server::Config config, const std::string& parent);
  TemporaryServer(const TemporaryServer&) = delete;
  TemporaryServer& operator=(const TemporaryServer&) = delete;
  ~TemporaryServer();

  const base::Endpoint& smtp() const { return smtp_; }
  const base::Endpoint& smtps() const { return smtps_; }  // port 0 = none
  const std::string& admin() const { return admin_; }     // "" when off
  const std::string& directory() const { return directory_; }
  int pid() const { return pid_; }

  // Drains it; a line when it did not end well.
  std::expected<void, std::string> stop();

 private:
  TemporaryServer() = default;
  std::expected<void, std::string> launch();
  std::expected<void, std::string> await_ready(int fd);
  std::string last_complaint() const;

  std::string directory_;
  int pid_ = -1;
  base::Endpoint smtp_;
  base::Endpoint smtps_;
  std::string admin_;
};

// A folder whose file system can keep a log's promise: $TMPDIR, /var/tmp, the working directory,
// /tmp, the first that will do; the last resort otherwise.
struct ScratchFolder {
  std::string path;
  bool durable = true;
};
ScratchFolder scratch_folder();

// Defaults on a free port of loopback, asking no DNS, its log bounded to about a gigabyte.
server::Config config_for_measuring(const ScratchFolder& folder);

}  // namespace mxring::cli
