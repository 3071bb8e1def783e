// `mxring log serve`: records and bodies of a log over HTTP, for programs on other machines and for
// claims, which events bear in the place of messages too large for them. Only reads; may run while
// the server writes, as any user who may read the log.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>

#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/log_server.h"
#include "cli/log_walk.h"
#include "obs/service_notice.h"
#include "server/admin.h"
#include "server/confinement.h"
#include "server/system_calls.h"

namespace mxring::cli {

namespace {

struct ServeLogOptions {
  std::string directory;
  std::string listen = "127.0.0.1:9926";
  std::string token_file;
  std::string certificate;
  std::string key;
  std::vector<std::string> names;
  std::uint64_t connections = 32;
  std::string timeout = "30s";
  bool plaintext = false;
  bool wait = false;
};

bool over_unix(const ServeLogOptions& options) {
  return options.listen.starts_with("unix:");
}

// "" when these belong together; else why not.
std::string problem_with(const ServeLogOptions& options) {
  if (options.certificate.empty() != options.key.empty()) {
    return "--certificate and --key belong together";
  }
  const bool tls = !options.certificate.empty();
  if (over_unix(options)) {
    return tls ? "TLS is for TCP; a Unix socket is this host's alone" : "";
  }
  const auto endpoint = base::Endpoint::parse(options.listen);
  if (!endpoint) {
    return fmt::format("--listen {}: neither ADDR:PORT nor unix:PATH",
                       base::escaped(options.listen));
  }
  if (options.token_file.empty()) {
    return "on TCP whoever asks needs a token: openssl rand -hex 32 > FILE, --token-file FILE; "
           "--listen unix:PATH wants none";
  }
  if (!endpoint->address.is_loopback() && !tls && !options.plaintext) {
    return fmt::format(
        "{} is seen from other machines: --certificate FILE --key FILE for TLS, or --plaintext "
        "when what is in between may read mail and token",
        base::escaped(options.listen));
  }
  return "";
}

class ServerCertificate {
 public:
  std::expected<void, std::string> load(const ServeLogOptions& options) {
    if (options.certificate.empty()) return {};
    auto read = net::read_certificate(options.certificate, options.key);
    if (!read) return std::unexpected(read.error().message);
    const std::string warning = net::validity_warning(*read, base::read_clocks().wall);
    if (!warning.empty()) complain(warning);
    net::TlsServer::Options tls;
    tls.certificates.push_back(*std::move(read));
    auto loaded = net::TlsServer::load(tls);
    if (!loaded) return std::unexpected(loaded.error().message);
    const std::lock_guard lock(mutex_);
    current_ = *std::move(loaded);
    return {};
  }
  std::shared_ptr<const net::TlsServer> current() {
    const std::lock_guard lock(mutex_);
    return current_;
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<const net::TlsServer> current_;
};

// From here on this process opens only the log and what it reads again, and makes only the system
// calls of a server; what a kernel does not let us have is said once.
void confine(const ServeLogOptions& options) {
  std::vector<server::PathRule> rules{{options.directory, server::PathUse::kRead, "the log"}};
  for (const std::string& file : {options.token_file, options.certificate, options.key}) {
    if (file.empty()) continue;
    rules.push_back({file, server::PathUse::kRead, "read again"});
    for (std::string& folder : server::folders_of(file)) {
      rules.push_back({std::move(folder), server::PathUse::kRead, "read again"});
    }
  }
  if (over_unix(options)) {
    const std::string folder = std::filesystem::path(options.listen.substr(5)).parent_path();
    rules.push_back({folder.empty() ? "." : folder, server::PathUse::kRemove, "the socket"});
  }
  for (const char* file : {"/dev/urandom", "/dev/null", "/etc/localtime", "/proc/self"}) {
    rules.push_back({file, server::PathUse::kRead, "libraries"});
  }
  if (server::kSanitized) return;
  if (const auto done = server::no_new_privileges(); !done) return complain(done.error());
  if (const auto done = server::confine_paths(rules, {}); !done) complain(done.error());
  if (const auto done = server::confine_system_calls(); !done) complain(done.error());
}

// Blocked from here on in every thread, and told by a descriptor.
base::OwnedFd hang_ups() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return base::OwnedFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// 0 once there is a log; or the exit code.
int find_log(const ServeLogOptions& options, const Interruption& interruption, bool& stopped) {
  while (true) {
    const auto reader = LogReader::open(options.directory);
    if (reader) return kDone;
    if (!options.wait || reader.error().kind != LogErrorKind::kNotALog) {
      complain_about_log(reader.error());
      return kFailed;
    }
    pollfd stop{interruption.fd(), POLLIN, 0};
    if (::poll(&stop, 1, 100) > 0) {
      stopped = true;
      return kDone;
    }
  }
}

int run_serve_log(const ServeLogOptions& options) {
  if (const std::string problem = problem_with(options); !problem.empty()) {
    complain(problem);
    return kUsage;
  }
  if (!options.token_file.empty()) {
    if (const auto tokens = read_tokens(options.token_file); !tokens) {
      complain(tokens.error());
      return kBadConfiguration;
    }
  }
  const base::OwnedFd hang_up = hang_ups();
  const Interruption interruption;
  ServerCertificate certificate;
  if (const auto loaded = certificate.load(options); !loaded) {
    complain(loaded.error());
    return kBadConfiguration;
  }
  bool stopped = false;
  if (const int failed = find_log(options, interruption, stopped); failed != kDone) return failed;
  if (stopped) return kDone;
  auto listening = server::Admin::listen(options.listen);
  if (!listening) {
    complain(listening.error());
    return kFailed;
  }
  LogPagesShared shared;
  shared.directory = options.directory;
  shared.token_file = options.token_file;
  shared.names = options.names;
  shared.check_host = !over_unix(options);
  LogServer::Options limits;
  limits.connections = options.connections;
  limits.patience_ns = base::parse_duration_ns(options.timeout).value_or(limits.patience_ns);
  limits.idle_ns = 2 * limits.patience_ns;
  confine(options);
  LogServer log_server(shared, limits, [&certificate] { return certificate.current(); });
  fmt::print("ready listen={} log={} tls={}\n", listening->name(), options.directory,
             options.certificate.empty() ? "off" : "on");
  std::fflush(stdout);
  obs::notify_service("READY=1");
  log_server.run(listening->fd(), interruption.fd(), hang_up.get(), [&] {
    signalfd_siginfo told{};
    [[maybe_unused]] const ssize_t got = ::read(hang_up.get(), &told, sizeof told);
    const auto again = certificate.load(options);
    complain(again ? "certificate read again; the token file is read at every request"
                   : fmt::format("{}; the one before stays in force", again.error()));
  });
  obs::notify_service("STOPPING=1");
  return kDone;
}

}  // namespace

void add_log_serve(CLI::App& log, Commands& commands) {
  CLI::App* serve = log.add_subcommand("serve", "Records and bodies over HTTP, for other machines");
  const auto options = std::make_shared<ServeLogOptions>();
  add_log_directory(*serve, options->directory);
  serve->add_option("--listen", options->listen, "Where")
      ->type_name("ADDR:PORT|unix:PATH")
      ->capture_default_str();
  serve
      ->add_option("--token-file", options->token_file,
                   "Whoever asks says a line of it: Authorization: Bearer TOKEN.\n"
                   "Several lines while one is changed. Needed on TCP")
      ->type_name("FILE");
  serve->add_option("--certificate", options->certificate, "TLS: the chain, PEM")
      ->type_name("FILE");
  serve->add_option("--key", options->key, "TLS: its key, PEM")->type_name("FILE");
  serve->add_flag("--plaintext", options->plaintext,
                  "In clear on an address that other machines see");
  auto* name = serve->add_option("--name", options->names,
                                 "A name we may be asked under, beside addresses and\n"
                                 "localhost; repeatable");
  name->type_name("HOST")->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  serve->add_option("--connections", options->connections, "At the same time")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  serve
      ->add_option("--timeout", options->timeout,
                   "A client asks within that, and goes on taking its answer")
      ->type_name("DURATION")
      ->check([](const std::string& text) {
        constexpr std::int64_t kLeastNs = 100 * base::kNsPerMs;
        const std::string problem = base::duration_problem(text, kLeastNs);
        return problem.empty() ? problem : fmt::format("{}: {}", base::escaped(text), problem);
      })
      ->capture_default_str();
  serve->add_flag("--wait", options->wait, "Until there is a log");
  serve->footer(
      "GET /v1/records?from=N|after=ID|since=T&max=100&wait=30&body=base64   lines as of\n"
      "    `log tail --json`, gaps too; Mx-Next: what to ask from next\n"
      "GET /v1/body/ID?form=received|delivered   the message; Range, HEAD, ETag, If-Range\n"
      "GET /v1/log   log_id, first, end            GET /healthz   without a token\n"
      "An error is {\"error\":{code,message,next}}: next says what to do.\n"
      "SIGHUP reads the certificate again; SIGTERM ends at once.");
  commands.push_back({serve, [options] { return run_serve_log(*options); }});
}

}  // namespace mxring::cli
