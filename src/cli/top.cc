// `mxring top`: what the running receiver does, again and again, over its control socket or its
// admin address. On a terminal it takes the whole screen and gives it back on every way out: q,
// SIGINT, SIGTERM, SIGHUP, SIGTSTP and crashes of its own.
//
// Exit codes: 0 done, 1 nobody answers.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <cstring>
#include <memory>

#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/top_screen.h"

namespace mxring::cli {

namespace {

constexpr std::array kEnding{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGABRT, SIGSEGV, SIGBUS};
constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l";
constexpr char kLeave[] = "\x1b[?25h\x1b[?1049l";

struct TopOptions {
  ControlPlace place;
  std::string admin;
  bool once = false;
  bool json = false;
  double every = 2;
};

// The terminal as a screen of ours, from construction to destruction or a deadly signal.
class Terminal {
 public:
  Terminal() {
    tcgetattr(STDIN_FILENO, &before_);
    enter();
    struct sigaction action {};
    action.sa_handler = [](int signal) {
      leave();
      struct sigaction plain {};
      plain.sa_handler = SIG_DFL;
      sigaction(signal, &plain, nullptr);
      raise(signal);
    };
    for (const int signal : kEnding) sigaction(signal, &action, nullptr);
    action.sa_handler = [](int) { enter(); };
    sigaction(SIGCONT, &action, nullptr);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    leave();
    for (const int signal : kEnding) std::signal(signal, SIG_DFL);
  }

  static std::size_t rows() {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) return 24;
    return size.ws_row;
  }
  static void show(const std::string& text) {
    std::string out = "\x1b[H";
    for (const char c : text) {
      if (c == '\n') out += "\x1b[K\r";
      out += c;
    }
    if (out.ends_with('\n')) out.pop_back();  // the last row would scroll
    out += "\x1b[J";
    write_all(out.data(), out.size());
  }
  // False: somebody wants to leave.
  static bool wait(double seconds) {
    pollfd key{STDIN_FILENO, POLLIN, 0};
    if (::poll(&key, 1, static_cast<int>(seconds * 1000)) <= 0) return true;
    char pressed = 'q';
    if (::read(STDIN_FILENO, &pressed, 1) <= 0) return false;
    return pressed != 'q' && pressed != 'Q' && pressed != 3;
  }

 private:
  static void write_all(const char* text, std::size_t size) {
    while (size > 0) {
      const ssize_t written = ::write(STDOUT_FILENO, text, size);
      if (written <= 0) return;
      text += written;
      size -= static_cast<std::size_t>(written);
    }
  }
  static void enter() {
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    write_all(kEnter, sizeof kEnter - 1);
    struct sigaction action {};
    action.sa_handler = [](int signal) {
      leave();
      std::signal(signal, SIG_DFL);
      raise(signal);
    };
    sigaction(SIGTSTP, &action, nullptr);
  }
  static void leave() {
    write_all(kLeave, sizeof kLeave - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  static inline termios before_{};
};

std::expected<std::string, std::string> look(const std::string& address) {
  const auto reply = ask_admin(address, "GET", "/live");
  if (!reply) return std::unexpected(reply.error());
  if (reply->code != 200) return std::unexpected(base::escaped(reply->body));
  return reply->body;
}

int stream(const TopOptions& options, const std::string& address) {
  Output output;
  for (;;) {
    const auto live = look(address);
    if (!live) {
      complain(live.error());
      return kFailed;
    }
    const bool goes_on = output.write(options.json ? *live + '\n' : top_screen(*live, 0)) &&
                         output.flush() && !output.reader_gone();
    if (options.once || !goes_on) return output.failed() ? kFailed : kDone;
    ::poll(nullptr, 0, static_cast<int>(options.every * 1000));
  }
}

int show(const TopOptions& options, const std::string& address) {
  std::string gone;
  {
    const Terminal terminal;
    bool seen = false;
    do {
      const auto live = look(address);
      if (!live && !seen) {
        gone = live.error();
        break;
      }
      seen = true;
      // Of a receiver that is being started again: it will be back.
      Terminal::show(live ? top_screen(*live, Terminal::rows()) : live.error() + '\n');
    } while (Terminal::wait(options.every));
  }
  if (gone.empty()) return kDone;
  complain(gone);
  return kFailed;
}

int run_top(const TopOptions& options) {
  std::string address = options.admin;
  if (address.empty()) {
    const auto socket = socket_of(options.place);
    if (!socket) {
      complain(socket.error());
      return kFailed;
    }
    address = "unix:" + *socket;
  }
  const bool screen =
      !options.once && !options.json && isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1;
  return screen ? show(options, address) : stream(options, address);
}

}  // namespace

void add_top(CLI::App& program, Commands& commands) {
  CLI::App* top = program.add_subcommand("top", "What the running receiver does, live");
  const auto options = std::make_shared<TopOptions>();
  add_control_place(*top, options->place);
  top->add_option("--admin", options->admin, "Ask the admin address instead of the control socket")
      ->type_name("ADDR:PORT|unix:PATH");
  top->add_flag("--once", options->once, "Once, and end");
  top->add_flag("--json", options->json, "The figures as one JSON object a line");
  top->add_option("--every", options->every, "Seconds from one look to the next (2)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 3600.0));
  top->footer("Fits 80 columns. q ends it.");
  commands.push_back({top, [options] { return run_top(*options); }});
}

}  // namespace mxring::cli
