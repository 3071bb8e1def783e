// The running server's control socket (listen.control, 0600: its owner only). The protocol is
// HTTP/1.0, one request a connection, as at the admin address, so that `curl --unix-socket` is a
// client too; what the paths do is in the table of control.cc. An answer is 200 with what was done,
// or 409 with why it was not, one line each.
//
//   GET  /status   one JSON object
//   POST /reload   reads the configuration again
//   POST /drain    as SIGTERM: transactions in progress finish, then the process ends
//   POST /rotate   opens the journal's file again
//   GET  /live     the figures of the last seconds, one JSON object (server/live.h)
//   GET  /trace    dialogues as they happen, one JSON object a line (server/trace.h), until the
//                  client goes
//
// Thread: one of its own, which serves many clients at once and never waits for one (server/admin).
// Failure: garbage is answered 400 and forgotten.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "server/admin.h"
#include "server/config.h"

namespace mxring::server {

// Where the socket is: listen.control, else $RUNTIME_DIRECTORY/control, else <log.dir>/control.
std::string control_path(const Config& config);

class TraceBoard;

// Called on the control's thread. A result with a value says what was done, an error why it was
// not.
struct ControlActions {
  using Result = std::expected<std::string, std::string>;
  std::function<std::string()> status;  // JSON
  std::function<std::string()> live;    // JSON
  TraceBoard* traces = nullptr;         // none: nobody can trace
  std::function<Result()> reload;
  std::function<Result()> drain;
  std::function<Result()> rotate;
};

AdminAnswer answer_control(const AdminRequest& request, const ControlActions& actions);

class Control {
 public:
  static std::expected<std::unique_ptr<Control>, std::string> start(const std::string& path,
                                                                    ControlActions actions);

 private:
  Control(Admin::Listening listening, ControlActions actions);
  const ControlActions actions_;
  Admin admin_;
};

}  // namespace mxring::server
