// `mxring serve`: runs the receiver until SIGTERM or SIGINT, which drain it: transactions in
// progress finish, everything acknowledged is durable, exit code 0. A second signal ends it at
// once; that loses nothing that was acknowledged either. SIGHUP reads the certificates again and
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
#include <thread>

#include "base/text.h"
#include "cli/command.h"
#include "cli/serve_words.h"
#include "cli/watchdog.h"
#include "server/certificates.h"
#include "server/config.h"
#include "server/confinement.h"
#include "server/crash_report.h"
#include "server/journal.h"
#include "server/probe.h"
#include "server/server.h"

namespace mxring::cli {

namespace {

struct ServeOptions {
  std::string file;
  bool check = false;
  bool probe = false;
  bool help_config = false;
  bool welcome = false;
  std::vector<std::string> smtp;
  std::vector<std::string> smtps;
  std::vector<std::string> resolvers;
  std::optional<std::string> admin;
  std::string log_dir;
  std::string hostname;
};

using Loaded = std::expected<server::Config, server::ConfigError>;

std::expected<std::vector<base::Endpoint>, server::ConfigError> endpoints(
    std::string_view flag, const std::vector<std::string>& texts, bool resolver) {
  std::vector<base::Endpoint> all;
  for (const std::string& text : texts) {
    const auto one = resolver ? server::parse_resolver(text) : base::Endpoint::parse(text);
    if (!one) {
      return std::unexpected(server::ConfigError{fmt::format(
          "{} {}: not an address; write {}", flag, base::escaped(text),
          resolver ? "192.0.2.53 or 192.0.2.53:5353" : "127.0.0.1:2525 or [::1]:2525")});
    }
    all.push_back(*one);
  }
  return all;
}

// The file over the defaults, the flags over the file.
Loaded load(const ServeOptions& options) {
  Loaded config =
      options.file.empty() ? Loaded(server::default_config()) : server::load_config(options.file);
  if (!config) return config;
  struct ListFlag {
    const char* flag;
    const char* key;
    const std::vector<std::string>& texts;
    std::vector<base::Endpoint>& target;
    bool resolver;
  };
  const ListFlag lists[] = {
      {"--smtp", "listen.smtp", options.smtp, config->listen.smtp, false},
      {"--smtps", "listen.smtps", options.smtps, config->listen.smtps, false},
      {"--resolver", "dns.servers", options.resolvers, config->dns.servers, true},
  };
  for (const ListFlag& list : lists) {
    if (list.texts.empty()) continue;
    auto parsed = endpoints(list.flag, list.texts, list.resolver);
    if (!parsed) return std::unexpected(parsed.error());
    list.target = *std::move(parsed);
    config->set_at[list.key] = list.flag;
  }
  // Whoever names a listener means it, as in a file.
  if (!options.smtp.empty() && !config->set_at.contains("listen.smtps")) {
    config->listen.smtps.clear();
  }
  if (options.admin) {
    config->listen.admin = *options.admin;
    config->set_at["listen.admin"] = "--admin";
  }
  if (!options.log_dir.empty()) {
    config->log.dir = options.log_dir;
    config->set_at["log.dir"] = "--log-dir";
  }
  if (!options.hostname.empty()) {
    config->hostname = options.hostname;
    config->set_at["hostname"] = "--hostname";
  }
  if (const auto valid = server::validate(*config); !valid) {
    return std::unexpected(valid.error());
  }
  return config;
}

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

  void start(server::Server& receiver, server::Journal& journal) {
    thread_ = std::thread([this, &receiver, &journal] { watch(receiver, journal); });
  }

  void stop() {
    if (!thread_.joinable()) return;
    done_.store(true, std::memory_order_release);  // pairs with the load in watch()
    pthread_kill(thread_.native_handle(), kStop);
    thread_.join();
  }

 private:
  static constexpr int kStop = SIGUSR2;

  void watch(server::Server& receiver, server::Journal& journal) {
    pthread_setname_np(pthread_self(), "mxring-signals");
    bool draining = false;
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
        if (!draining) receiver.reload_certificates();
        continue;
      }
      if (draining) _exit(kDone);
      draining = true;
      journal.notice("draining: transactions in progress may finish; a second signal ends at once");
      receiver.begin_drain();
    }
  }

  sigset_t signals_{};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

int check_only(const server::Config& config, bool probe) {
  for (const std::string& warning : warnings(config)) complain(warning);
  if (const auto checked = server::check_certificates(config, complain); !checked) {
    complain(checked.error());
    return kBadConfiguration;
  }
  const std::vector<std::string> refused = server::check_access_of_user(config);
  for (const std::string& fault : refused) complain(fault);
  if (!refused.empty()) return kBadConfiguration;
  if (probe) {
    const server::ProbeReport report = server::probe(config);
    for (const std::string& note : report.notes) complain(note);
    for (const std::string& problem : report.problems) complain(problem);
    if (!report.problems.empty()) return kFailed;
  }
  fmt::print("configuration ok\n\n{}", server::to_toml(config, false));
  return kDone;
}

int run_serve(const ServeOptions& options) {
  if (options.help_config) {
    fmt::print("{}", server::to_toml(server::default_config(), true));
    return kDone;
  }
  const Loaded config = load(options);
  if (!config) {
    complain(config.error().message);
    return kBadConfiguration;
  }
  if (options.check || options.probe) return check_only(*config, options.probe);

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
  auto receiver = server::Server::start(*config, notice, nullptr, &journal, &confinement);
  if (!receiver) {
    journal.notice(receiver.error().message);
    return receiver.error().exit_code;
  }
  signals.start(**receiver, journal);
  Watchdog watchdog;
  watchdog.start(**receiver, journal);
  journal.settle();  // whoever waits for the ready line has the warnings before it
  journal.serve();
  const Listening listening{(*receiver)->smtp_endpoints(), (*receiver)->smtps_endpoints(),
                            (*receiver)->admin_endpoint(), config->log.dir,
                            (*receiver)->shards(),         getpid(),
                            uses_self_signed(*config)};
  fmt::print("{}\n", ready_line(listening));
  if (options.welcome || isatty(STDOUT_FILENO) == 1) fmt::print("\n{}", welcome(listening));
  std::fflush(stdout);
  const int result = (*receiver)->wait();
  watchdog.stop();
  signals.stop();
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
      "SIGTERM drains; SIGHUP reads the certificates again and opens the journal's file anew; "
      "SIGUSR1\n"
      "prints where the CPU time "
      "went.\n"
      "Flags go over the file; without a file: 127.0.0.1:2525, TLS on 127.0.0.1:4650, log in\n"
      "./mxring-log.");
  for (const char* repeatable : {"--smtp", "--smtps", "--resolver"}) {
    serve->get_option(repeatable)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  commands.push_back({serve, [options] { return run_serve(*options); }});
}

}  // namespace mxring::cli
