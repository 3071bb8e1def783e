#include "server/control.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "server/trace.h"

namespace mxring::server {

namespace {

using Result = ControlActions::Result;

struct Command {
  std::string_view method;
  std::string_view path;
  Result (*run)(const ControlActions&);
};

constexpr std::array kCommands{
    Command{"GET", "/status", [](const ControlActions& a) { return Result(a.status()); }},
    Command{"GET", "/live", [](const ControlActions& a) { return Result(a.live()); }},
    Command{"POST", "/reload", [](const ControlActions& a) { return a.reload(); }},
    Command{"POST", "/drain", [](const ControlActions& a) { return a.drain(); }},
    Command{"POST", "/rotate", [](const ControlActions& a) { return a.rotate(); }},
};

// One who follows dialogues, as long as the connection lives.
class TraceStream final : public AdminStream {
 public:
  TraceStream(TraceBoard& board, std::shared_ptr<Tracer> tracer)
      : board_(board), tracer_(std::move(tracer)) {}
  ~TraceStream() override { board_.remove(*tracer_); }

  bool pull(std::string& out) override {
    const bool over = tracer_->over();  // before the last look at its lines
    const auto take = [&out](std::string_view line) { (out += line) += '\n'; };
    while (out.size() < kBytesAtOnce && tracer_->lines().pop(take)) {
    }
    const std::uint64_t dropped = tracer_->lines().dropped();
    if (dropped > said_dropped_) {
      out += fmt::format("{{\"event\":\"dropped\",\"lines\":{}}}\n", dropped - said_dropped_);
      said_dropped_ = dropped;
    }
    return !over || !tracer_->lines().empty();
  }

 private:
  static constexpr std::size_t kBytesAtOnce = 64 << 10;
  TraceBoard& board_;
  const std::shared_ptr<Tracer> tracer_;
  std::uint64_t said_dropped_ = 0;
};

AdminAnswer begin_trace(std::string_view query, TraceBoard& board) {
  auto filter = TraceFilter::parse(query);
  if (!filter) return {.status = "400 Bad Request", .body = filter.error() + '\n'};
  auto tracer = board.add(*std::move(filter));
  if (tracer == nullptr) {
    return {.status = "409 Conflict",
            .body = fmt::format("{} others trace already: end one of them\n", Tracers::kMax)};
  }
  return {.type = "application/x-ndjson",
          .body = "{\"event\":\"tracing\"}\n",
          .stream = std::make_shared<TraceStream>(board, std::move(tracer))};
}

}  // namespace

std::string control_path(const Config& config) {
  if (!config.listen.control.empty()) return config.listen.control;
  // systemd sets it, a list when there are several.
  const char* runtime = std::getenv("RUNTIME_DIRECTORY");
  std::string folder = runtime == nullptr ? "" : runtime;
  folder = folder.substr(0, folder.find(':'));
  return (folder.empty() ? config.log.dir : folder) + "/control";
}

AdminAnswer answer_control(const AdminRequest& request, const ControlActions& actions) {
  if (request.path == "/trace" && request.method == "GET" && actions.traces != nullptr) {
    return begin_trace(request.query, *actions.traces);
  }
  for (const Command& command : kCommands) {
    if (command.path != request.path) continue;
    if (command.method != request.method) {
      return {.status = "405 Method Not Allowed",
              .body = fmt::format("{} is what {} wants\n", command.method, command.path),
              .more_fields = fmt::format("Allow: {}\r\n", command.method)};
    }
    const Result result = command.run(actions);
    if (!result) return {.status = "409 Conflict", .body = result.error() + '\n'};
    const bool json = result->starts_with('{');
    return {.type = json ? "application/json" : "text/plain", .body = *result + '\n'};
  }
  return {.status = "404 Not Found",
          .body = "try /status, /live, /trace, /reload, /drain or /rotate\n"};
}

Control::Control(Admin::Listening listening, ControlActions actions)
    : actions_(std::move(actions)),
      admin_(std::move(listening),
             [this](const AdminRequest& request) { return answer_control(request, actions_); }) {}

std::expected<std::unique_ptr<Control>, std::string> Control::start(const std::string& path,
                                                                    ControlActions actions) {
  auto listening = Admin::listen("unix:" + path);
  if (!listening) return std::unexpected(listening.error());
  return std::unique_ptr<Control>(new Control(std::move(*listening), std::move(actions)));
}

}  // namespace mxring::server
