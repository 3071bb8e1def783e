// `mxring load`: sends mail as fast as it goes, or at a given rate, and says how it went.
//
// Ctrl-C ends the run early and still prints what there is; a second one ends the program. Exit
// codes: 0 the run was carried out, 1 it was not or nothing was accepted, 99 a --fail-if condition
// holds.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/descriptors.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/key_file.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/server_argument.h"
#include "cli/temporary_server.h"
#include "load/fail_if.h"
#include "load/report.h"
#include "load/run.h"
#include "mailauth/dkim/signature.h"

namespace mxring::cli {

namespace {

constexpr std::uint32_t kConnectionsMax = 60'000;
constexpr std::uint32_t kThreadsMax = 256;
constexpr std::uint64_t kMessagesMax = 999'999'999'999;
constexpr std::uint32_t kSpareDescriptors = 64;
constexpr std::uint64_t kSignedMax = 1'000'000;  // their signatures are held in memory

struct LoadArguments {
  std::string address;  // none: a server is started for the run
  std::vector<std::string> resolvers;
  std::uint32_t connections = 32;
  std::uint32_t threads = 1;
  std::optional<std::uint64_t> messages;
  std::string duration;
  std::string rate;
  std::string size = "10KiB";
  std::string pipelining = "off";
  std::string chunking = "off";
  std::uint32_t messages_per_connection = 1000;
  std::string tls = "none";
  std::string tls_verify;
  std::string tls_name;
  std::string sign;
  std::string domain;
  std::string selector;
  std::optional<std::uint64_t> signed_messages;
  std::vector<std::string> message;
  std::vector<std::string> mail_from;
  std::vector<std::string> rcpt_to;
  std::vector<std::string> fail_if;
  std::string helo = "load.example";
  std::string connect_timeout = "10s";
  std::string reply_timeout = "30s";
  std::string time_limit;
  std::string acknowledged;
  int server_pid = 0;
  bool json = false;
};

struct Plan {
  load::Options options;
  std::optional<ServerArgument> server;  // none: one is started for the run
  std::vector<load::FailIf> conditions;
};

// Set by the signal handler, read by the workers.
std::atomic<bool> g_stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_interrupt(int signal) {
  g_stop.store(true, std::memory_order_relaxed);
  std::signal(signal, SIG_DFL);
}

using Problem = std::optional<std::string>;  // one line: what is wrong with the command line

Problem read_address(const LoadArguments& arguments, Plan& plan) {
  if (arguments.address.empty()) return std::nullopt;
  const auto server = parse_server_argument(arguments.address);
  if (!server) return server.error();
  plan.server = *server;
  return std::nullopt;
}

Problem read_time(const char* flag, const std::string& text, std::int64_t& ns) {
  if (text.empty()) return std::nullopt;
  if (const auto problem = base::duration_problem(text); !problem.empty()) {
    return fmt::format("{} {}: {}", flag, base::escaped(text), problem);
  }
  ns = *base::parse_duration_ns(text);
  return std::nullopt;
}

// Everything about --sign but its key file.
Problem read_signing(const LoadArguments& arguments, Plan& plan) {
  if (arguments.sign.empty()) {
    if (arguments.domain.empty() && arguments.selector.empty() && !arguments.signed_messages) {
      return std::nullopt;
    }
    return "--domain, --selector and --signed-messages go with --sign";
  }
  const auto domain = mailauth::dkim::parse_domain(arguments.domain);
  if (!domain || domain->labels() < 2) {
    return fmt::format("--domain {}: not a domain; --sign needs one",
                       base::escaped(arguments.domain));
  }
  const auto selector = mailauth::dkim::parse_domain(arguments.selector);
  if (!selector) {
    return fmt::format("--selector {}: not a selector; --sign needs one",
                       base::escaped(arguments.selector));
  }
  load::Signing signing;
  signing.domain = domain->to_text();
  signing.selector = selector->to_text();
  if (arguments.signed_messages) signing.messages = *arguments.signed_messages;
  if (arguments.messages) signing.messages = std::min(signing.messages, *arguments.messages);
  // The domain that signs is the one the reader sees, unless somebody says otherwise.
  if (arguments.mail_from.empty()) {
    const auto from = load::AddressPattern::parse("sender%d@" + signing.domain, false);
    if (!from) return fmt::format("--domain {}: too long", base::escaped(arguments.domain));
    plan.options.content.mail_from = {*from};
  }
  plan.options.content.sign = std::move(signing);
  return std::nullopt;
}

Problem read_plan(const LoadArguments& arguments, Plan& plan) {
  load::Options& options = plan.options;
  options.connections = arguments.connections;
  options.threads = arguments.threads;
  options.messages = arguments.messages;
  if (arguments.messages && !arguments.duration.empty()) {
    return "--messages and --duration exclude each other";
  }
  for (const auto& [flag, text, target] :
       {std::tuple("--duration", &arguments.duration, &options.duration_ns),
        std::tuple("--connect-timeout", &arguments.connect_timeout, &options.connect_timeout_ns),
        std::tuple("--reply-timeout", &arguments.reply_timeout, &options.reply_timeout_ns),
        std::tuple("--time-limit", &arguments.time_limit, &options.time_limit_ns)}) {
    if (auto problem = read_time(flag, *text, *target)) return problem;
  }
  if (!arguments.rate.empty()) {
    options.rate = load::Rate::parse(arguments.rate);
    if (!options.rate) {
      return fmt::format("--rate {}: not a rate; write 1000/s, 0.5/s or 90/m",
                         base::escaped(arguments.rate));
    }
  }
  options.pipelining = arguments.pipelining == "on";
  options.chunking = options.content.chunks = arguments.chunking == "on";
  options.messages_per_connection = arguments.messages_per_connection;
  options.helo = arguments.helo;
  const auto is_visible = [](char c) { return c > ' ' && c < 0x7F; };
  if (arguments.helo.empty() || !std::ranges::all_of(arguments.helo, is_visible)) {
    return fmt::format("--helo {}: not a name", base::escaped(arguments.helo));
  }
  options.server_pid = arguments.server_pid;
  options.keep_acknowledged = !arguments.acknowledged.empty();
  options.stop = &g_stop;
  return std::nullopt;
}

Problem read_addresses(const char* flag, const std::vector<std::string>& texts, bool null_allowed,
                       std::vector<load::AddressPattern>& target) {
  for (const std::string& text : texts) {
    auto pattern = load::AddressPattern::parse(text, null_allowed);
    if (!pattern) {
      return fmt::format("{} {}: not an address; write user@example.org, with at most one %d", flag,
                         base::escaped(text));
    }
    target.push_back(*std::move(pattern));
  }
  return std::nullopt;
}

Problem read_tls(const LoadArguments& arguments, Plan& plan) {
  if (arguments.tls == "none") {
    if (!arguments.tls_verify.empty() || !arguments.tls_name.empty()) {
      return "--tls-verify and --tls-name need --tls starttls or --tls implicit";
    }
    return std::nullopt;
  }
  plan.options.tls = arguments.tls == "starttls" ? load::Tls::kStartTls : load::Tls::kImplicit;
  auto client = net::TlsClient::create(
      {.authorities_file = arguments.tls_verify, .server_name = arguments.tls_name});
  if (!client) return client.error().message;
  plan.options.tls_client = *std::move(client);
  return std::nullopt;
}

Problem read_content(const LoadArguments& arguments, Plan& plan) {
  load::MessageSource::Options& content = plan.options.content;
  const auto size = load::SizeDistribution::parse(arguments.size);
  if (!size) {
    return fmt::format("--size {}: write 10240, 10KiB, 1KiB-100KiB (at most {}) or mail",
                       base::escaped(arguments.size),
                       base::format_bytes(load::SizeDistribution::kSizeMax));
  }
  content.size = *size;
  if (auto problem = read_addresses("--mail-from", arguments.mail_from, true, content.mail_from)) {
    return problem;
  }
  std::vector<std::string> recipients = arguments.rcpt_to;
  if (recipients.empty()) recipients = {"recipient@sink.example"};
  if (auto problem = read_addresses("--rcpt-to", recipients, false, content.rcpt_to)) {
    return problem;
  }
  plan.options.message_paths = arguments.message;
  for (const std::string& text : arguments.fail_if) {
    auto condition = load::FailIf::parse(text);
    if (!condition) return condition.error();
    plan.conditions.push_back(*std::move(condition));
  }
  return std::nullopt;
}

// Every connection is a descriptor; the soft limit of a login shell may be below what is asked.
Problem raise_descriptor_limit(std::uint32_t connections) {
  const std::uint64_t wanted = std::uint64_t{connections} + kSpareDescriptors;
  const base::DescriptorLimit limit = base::raise_descriptors(wanted);
  if (limit.now == 0 || limit.now >= wanted) return std::nullopt;
  return fmt::format("--connections {}: this process may open {} files only (ulimit -Hn)",
                     connections, limit.now);
}

// Complaints about the run itself, then about the thresholds; the exit code of the worst.
int judge(const load::Results& results, const std::vector<load::FailIf>& conditions) {
  int exit_code = kDone;
  if (!results.failure.empty()) {
    complain(results.failure);
    exit_code = kFailed;
  }
  for (const load::FailIf& condition : conditions) {
    const auto broken = condition.broken_by(results);
    if (!broken) continue;
    complain(fmt::format("--fail-if {}: {}", base::escaped(condition.text()), *broken));
    exit_code = kThresholdBroken;
  }
  return exit_code;
}

// A receiver for the time of the run, when no address was given.
std::expected<std::unique_ptr<TemporaryServer>, std::string> start_server(Plan& plan) {
  const ScratchFolder folder = scratch_folder();
  server::Config config = config_for_measuring(folder);
  const bool implicit_tls = plan.options.tls == load::Tls::kImplicit;
  if (implicit_tls) config.listen.smtps = config.listen.smtp;
  auto server = TemporaryServer::start(config, folder.path);
  if (!server) return server;
  plan.options.server = implicit_tls ? (*server)->smtps() : (*server)->smtp();
  plan.options.server_pid = (*server)->pid();
  fmt::print(stderr, "mxring: no address given: a receiver is started for this run on {}, {}\n",
             plan.options.server.to_string(),
             folder.durable
                 ? fmt::format("with its log in {}, removed afterwards", folder.path)
                 : std::string("without durable commits: no disk was found for its log"));
  return server;
}

// Also called before the run, with nothing: nobody waits for one whose result cannot be kept.
bool save_acknowledged(const std::string& file, std::string_view lines) {
  if (file.empty()) return true;
  std::FILE* out = std::fopen(file.c_str(), "we");
  bool good = out != nullptr && std::fwrite(lines.data(), 1, lines.size(), out) == lines.size();
  if (out != nullptr) good &= std::fclose(out) == 0;
  if (!good) {
    complain(fmt::format("{}: {}", base::escaped(file), std::system_category().message(errno)));
  }
  return good;
}

int run_command(const LoadArguments& arguments) {
  Plan plan;
  Problem problem = read_address(arguments, plan);
  if (!problem) problem = read_plan(arguments, plan);
  if (!problem) problem = read_tls(arguments, plan);
  if (!problem) problem = read_content(arguments, plan);
  if (!problem) problem = read_signing(arguments, plan);
  if (problem) {
    complain(*problem);
    return kUsage;
  }
  if (plan.options.content.sign) {
    const auto key = read_private_key(arguments.sign);
    if (!key) {
      complain(fmt::format("--sign {}", key.error()));
      return kFailed;
    }
    plan.options.content.sign->key_pem = key->to_pem();
  }
  if (plan.server) {
    const auto found = find_server(*plan.server, arguments.resolvers);
    if (!found) {
      complain(found.error());
      return kFailed;
    }
    plan.options.server = *found;
  }
  if (!save_acknowledged(arguments.acknowledged, {})) return kFailed;
  if ((problem = raise_descriptor_limit(arguments.connections))) {
    complain(*problem);
    return kFailed;
  }
  std::unique_ptr<TemporaryServer> server;
  if (arguments.address.empty()) {
    auto started = start_server(plan);
    if (!started) {
      complain(started.error());
      return kFailed;
    }
    server = *std::move(started);
  }
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  Progress line("load");
  const auto results = load::run_load(plan.options, [&line](const load::Progress& progress) {
    if (line.due()) line.show(progress.fraction, load::progress_note(progress));
  });
  line.clear();
  if (const auto stopped = server ? server->stop() : std::expected<void, std::string>{}; !stopped) {
    complain(stopped.error());
    return kFailed;
  }
  if (!results) {
    complain(results.error());
    return kFailed;
  }
  if (!save_acknowledged(arguments.acknowledged, results->acknowledged)) return kFailed;
  Output output;
  output.write(arguments.json ? load::results_json(*results) : load::results_table(*results));
  output.flush();
  const int exit_code = judge(*results, plan.conditions);
  return output.failed() ? kFailed : exit_code;
}

void add_traffic_options(CLI::App& app, LoadArguments& arguments) {
  app.add_option("ADDRESS", arguments.address,
                 "Server, port 25 if left out; without it a receiver is started for the\n"
                 "run, on a free port of loopback, with its log in a temporary folder")
      ->type_name("HOST[:PORT]");
  app.add_option("--resolver", arguments.resolvers,
                 "Ask this DNS server for HOST, not the system's; repeatable")
      ->allow_extra_args(false)
      ->type_name("ADDR[:PORT]");
  app.add_option("--connections", arguments.connections, "Connections kept busy; default 32")
      ->check(CLI::Range(1U, kConnectionsMax).description(""))
      ->type_name("N");
  app.add_option("--threads", arguments.threads, "Client threads, each with a ring; default 1")
      ->check(CLI::Range(1U, kThreadsMax).description(""))
      ->type_name("N");
  app.add_option("--messages", arguments.messages, "Send so many")
      ->check(CLI::Range(std::uint64_t{1}, kMessagesMax).description(""))
      ->type_name("N");
  app.add_option("--duration", arguments.duration, "Send for so long; default 10s")
      ->type_name("TIME");
  app.add_option("--rate", arguments.rate,
                 "Open loop: a message is due every 1/R, and its latency counts from then;\n"
                 "without it, a connection sends its next when the last is answered")
      ->type_name("R/s");
  app.add_option("--pipelining", arguments.pipelining, "MAIL, RCPT and DATA together; default off")
      ->check(CLI::IsMember({"on", "off"}).description(""))
      ->type_name("on|off");
  app.add_option("--chunking", arguments.chunking, "BDAT in place of DATA; default off")
      ->check(CLI::IsMember({"on", "off"}).description(""))
      ->type_name("on|off");
  app.add_option("--messages-per-connection", arguments.messages_per_connection,
                 "Reconnect after so many; 0 = never; default 1000")
      ->type_name("N");
  app.add_option("--tls", arguments.tls, "Encrypt; certificates are not checked; default none")
      ->check(CLI::IsMember({"none", "starttls", "implicit"}).description(""))
      ->type_name("none|starttls|implicit");
  app.add_option("--tls-verify", arguments.tls_verify,
                 "Check the server's certificate against the authorities in this PEM file")
      ->type_name("FILE");
  app.add_option("--tls-name", arguments.tls_name, "The name to ask the server for, and to check")
      ->type_name("NAME");
  app.add_option("--helo", arguments.helo, "Our name in EHLO")->type_name("NAME");
  app.add_option("--connect-timeout", arguments.connect_timeout, "Default 10s")->type_name("TIME");
  app.add_option("--reply-timeout", arguments.reply_timeout, "Of every reply; default 30s")
      ->type_name("TIME");
  app.add_option("--time-limit", arguments.time_limit, "Of the whole run; default none")
      ->type_name("TIME");
}

void add_content_options(CLI::App& app, LoadArguments& arguments) {
  app.add_option("--size", arguments.size,
                 "Bytes of a message, header included; a range, or \"mail\" for a mix\n"
                 "of sizes; default 10KiB")
      ->type_name("BYTES|A-B|mail");
  app.add_option("--message", arguments.message,
                 "Send these messages in turn, as they are; a file, or a folder, of which\n"
                 "files that are no messages are skipped")
      ->type_name("PATH");
  app.add_option("--mail-from", arguments.mail_from,
                 "Sender; repeatable, taken in turn; %d is the message's number, <> none")
      ->type_name("ADDR");
  app.add_option("--rcpt-to", arguments.rcpt_to,
                 "Recipient; repeatable, all of them for each message; %d as above")
      ->type_name("ADDR");
  app.add_option("--sign", arguments.sign,
                 "Sign with this key (PEM, as `dkim keygen` writes it); before the start,\n"
                 "not while sending")
      ->type_name("KEYFILE");
  app.add_option("--domain", arguments.domain,
                 "With --sign: d=, and the domain of senders if --mail-from names none");
  app.add_option("--selector", arguments.selector, "With --sign: s=");
  app.add_option("--signed-messages", arguments.signed_messages,
                 "With --sign: so many different messages are made and sent in\n"
                 "turn; default 1000")
      ->check(CLI::Range(std::uint64_t{1}, kSignedMax).description(""))
      ->type_name("N");
}

void add_result_options(CLI::App& app, LoadArguments& arguments) {
  app.add_option("--fail-if", arguments.fail_if,
                 "Exit 99 when this holds: p99>20ms, rate<5000, errors>0.1%; repeatable.\n"
                 "Of p50 p90 p99 p999 max, rate, errors (messages not accepted: those\n"
                 "rejected, answered 4xx or 5xx, and those lost, without an answer),\n"
                 "rejected, lost, recipients_rejected")
      ->type_name("EXPR");
  app.add_option("--server-pid", arguments.server_pid,
                 "Measure this process's CPU time per message")
      ->check(CLI::PositiveNumber.description(""))
      ->type_name("PID");
  app.add_option("--acknowledged", arguments.acknowledged,
                 "Write what each reply that accepts a message ends with, its offset in\n"
                 "mxring's log, to this file: a line each, in no order")
      ->type_name("FILE");
  app.add_flag("--json", arguments.json, "One JSON object");
}

}  // namespace

void add_load(CLI::App& program, Commands& commands) {
  CLI::App* app = program.add_subcommand("load", "Generate load: send messages, measure latency");
  const auto arguments = std::make_shared<LoadArguments>();
  add_traffic_options(*app, *arguments);
  add_content_options(*app, *arguments);
  add_result_options(*app, *arguments);
  for (const char* repeatable : {"--message", "--mail-from", "--rcpt-to", "--fail-if"}) {
    app->get_option(repeatable)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  app->footer(
      "Latency runs from the moment a message is taken (closed loop) or due (--rate) to the reply\n"
      "that accepts it, of accepted messages. Bodies are generated: every message is unique.\n"
      "Exit codes: 0 done, 1 the run could not be carried out or nothing was accepted, 2 usage,\n"
      "99 a --fail-if condition holds.");
  commands.push_back({app, [arguments] { return run_command(*arguments); }});
}

}  // namespace mxring::cli
