// Asking the running receiver, over its control socket or its admin address: HTTP/1.0, one request
// a connection (server/admin.h).
//
// Thread: one. Failure: a line that says what to do.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace mxring::cli {

// Where its control socket is: named, or by the configuration it was started with.
struct ControlPlace {
  std::string socket;
  std::string file;
};
void add_control_place(CLI::App& command, ControlPlace& place);
std::expected<std::string, std::string> socket_of(const ControlPlace& place);

struct AdminReply {
  int code = 0;
  std::string body;  // without line ends at its end
};

// `address`: "unix:PATH" or ADDR:PORT.
std::expected<AdminReply, std::string> ask_admin(const std::string& address,
                                                 std::string_view method, std::string_view target);

// An answer that goes on: its lines are handed to `take` as they come, until it says false, the
// receiver ends, or `stop_fd` becomes readable. An answer other than 200 is an error with its text.
std::expected<void, std::string> follow_admin(const std::string& address, std::string_view target,
                                              int stop_fd,
                                              const std::function<bool(std::string_view)>& take);

}  // namespace mxring::cli
