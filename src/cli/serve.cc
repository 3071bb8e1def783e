// `mxring serve`: runs the receiver until SIGTERM or SIGINT, which drain it: transactions in
// progress finish, everything acknowledged is durable, exit code 0. A second signal ends it at
// once; that loses nothing that was acknowledged either. SIGHUP reads the configuration again and
// opens the journal's file anew.
//
// Threads: the main thread waits for the server; one thread waits for signals; the journal's writes
// what the operator is told. Signals are blocked before any thread starts, so no other thread ever
// sees one.
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

#include "base/text.h"
#include "cli/command.h"
#include "cli/serve_actions.h"
#include "cli/serve_config.h"
#include "cli/serve_words.h"
#include "cli/watchdog.h"
#include "obs/service_notice.h"
#include "server/confinement.h"
#include "server/crash_report.h"
#include "server/journal.h"
#include "server/server.h"

namespace mxring::cli {

namespace {

// Receives the signals of the whole process on a thread of its own.
class SignalThread {
 public:
  // Call before any other thread starts.
  SignalThread() {
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, kStop}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;
  ~SignalThread() { stop(); }

  void start(server::Server& receiver, server::Journal& journal, ServeActions& actions) {
    thread_ =
        std::thread([this, &receiver, &journal, &actions] { watch(receiver, journal, actions); });
  }

  void stop() {
    if (!thread_.joinable()) return;
    done_.store(true, std::memory_order_release);  // pairs with the load in watch()
    pthread_kill(thread_.native_handle(), kStop);
    thread_.join();
  }

 private:
  static constexpr int kStop = SIGUSR2;

  void watch(server::Server& receiver, server::Journal& journal, ServeActions& actions) {
    pthread_setname_np(pthread_self(), "mxring-signals");
    while (true) {
      int signal = 0;
      if (sigwait(&signals_, &signal) != 0) continue;
      if (done_.load(std::memory_order_acquire)) return;
      if (signal == kStop) continue;
      if (signal == SIGUSR1) {
        journal.text(receiver.ledger());
        continue;
      }
      if (signal == SIGHUP) {
        journal.reopen();
        // What it says is in the journal.
        if (!actions.draining()) (void)actions.reload();
        continue;
      }
      if (!actions.drain()) _exit(kDone);
    }
  }

  sigset_t signals_{};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

int run_serve(const ServeOptions& options) {
  if (options.help_config) {
    fmt::print("{}", server::to_toml(server::default_config(), true));
    return kDone;
  }
  if (options.check || options.probe) return check_config(options);
  const auto config = load_config(options);
  if (!config) {
    complain(config.error().message);
    return kBadConfiguration;
  }

  server::crash_report::install();
  SignalThread signals;
  server::Journal journal(STDERR_FILENO);
  for (const std::string& warning : warnings(*config)) journal.notice(warning);
  if (const auto ready = journal.configure({config->journal.to, config->journal.format,
                                            config->journal.accepted, config->journal.rate});
      !ready) {
    journal.notice(ready.error());
    return kBadConfiguration;
  }
  const auto notice = [&journal](const std::string& line) { journal.notice(line); };
  server::Confinement confinement(*config, notice);
  if (const auto prepared = confinement.prepare(); !prepared) {
    journal.notice(prepared.error());
    return kBadConfiguration;
  }
  if (journal.on() && config->journal.to != "stderr") confinement.give(config->journal.to);
  std::optional<ServeActions> actions;
  std::unique_ptr<server::Control> control;
  const auto open_control =
      [&](server::Server& started) -> std::expected<void, server::StartError> {
    auto opened = actions.emplace(options, started, journal).open_control(*config);
    if (!opened) return std::unexpected(server::StartError{kFailed, opened.error()});
    control = std::move(*opened);
    return {};
  };
  auto receiver =
      server::Server::start(*config, notice, nullptr, &journal, &confinement, open_control);
  if (!receiver) {
    journal.notice(receiver.error().message);
    return receiver.error().exit_code;
  }
  signals.start(**receiver, journal, *actions);
  Watchdog watchdog;
  watchdog.start(**receiver, journal);
  journal.settle();  // whoever waits for the ready line has the warnings before it
  journal.serve();
  const Listening listening{(*receiver)->smtp_endpoints(), (*receiver)->smtps_endpoints(),
                            (*receiver)->admin_endpoint(), whole_path(config->log.dir),
                            (*receiver)->shards(),         getpid(),
                            uses_self_signed(*config)};
  obs::notify_service("READY=1");
  fmt::print("{}\n", ready_line(listening));
  if (options.welcome || isatty(STDOUT_FILENO) == 1) fmt::print("\n{}", welcome(listening));
  std::fflush(stdout);
  const int result = (*receiver)->wait();
  watchdog.stop();
  signals.stop();
  control.reset();  // before the server that it speaks of
  return result;
}

}  // namespace

void add_serve(CLI::App& program, Commands& commands) {
  CLI::App* serve = program.add_subcommand("serve", "Receive mail until stopped by SIGTERM");
  const auto options = std::make_shared<ServeOptions>();
  serve->add_option("-c,--config", options->file, "Configuration file (TOML)")->type_name("FILE");
  serve->add_flag("-t,--test", options->check, "Check the configuration, print it, and exit");
  serve->add_flag("--probe", options->probe,
                  "With -t: also try the resolvers, the ports and the log's directory");
  serve->add_flag("--help-config", options->help_config,
                  "Print every configuration key with its meaning and default");
  serve
      ->add_option("--smtp", options->smtp, "Listen here for SMTP; repeatable; port 0 = a free one")
      ->type_name("ADDR:PORT");
  serve->add_option("--smtps", options->smtps, "Listen here for implicit TLS; repeatable")
      ->type_name("ADDR:PORT");
  serve->add_option("--log-dir", options->log_dir, "Directory of the log")->type_name("DIR");
  serve->add_option("--resolver", options->resolvers, "Ask this DNS server; repeatable")
      ->type_name("ADDR[:PORT]");
  serve->add_option("--admin", options->admin, "Serve /metrics and /status here; \"\" = off")
      ->type_name("ADDR:PORT|unix:PATH");
  serve->add_option("--hostname", options->hostname, "Our name in the banner and in Received")
      ->type_name("NAME");
  serve->add_flag("--welcome", options->welcome,
                  "Say how to send a message even when standard output is no terminal");
  serve->footer(
      "SIGTERM drains; SIGHUP opens the journal's file anew and reads the configuration,\n"
      "certificates and keys again (as does\n"
      "`mxring ctl reload`, which says what changed); SIGUSR1 prints where the CPU time went.\n"
      "Flags go over the environment (MXRING_LISTEN__SMTP=0.0.0.0:25, see --help-config), that "
      "over\n"
      "the file; without any of them: 127.0.0.1:2525, TLS on 127.0.0.1:4650, log in ./mxring-log.");
  for (const char* repeatable : {"--smtp", "--smtps", "--resolver"}) {
    serve->get_option(repeatable)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  commands.push_back({serve, [options] { return run_serve(*options); }});
}

}  // namespace mxring::cli
