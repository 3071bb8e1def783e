// `mxring trace`: dialogues as they happen, over the control socket. Bodies and what AUTH is given
// are left out; everything foreign is escaped. Ends with the receiver, a signal, or with --one the
// first session.
//
// Exit codes: 0 done, 1 nobody answers, 2 what cannot be traced by.
#include "server/trace.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/output.h"

namespace mxring::cli {

namespace {

using Json = nlohmann::json;

struct TraceOptions {
  ControlPlace place;
  std::string client, sender, recipient, reply;
  bool has_sender = false;
  bool refused = false;
  bool one = false;
  bool json = false;
};

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    plain ? out += c : out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string query_of(const TraceOptions& options) {
  std::string query;
  const auto add = [&query](std::string_view name, std::string_view value) {
    query += fmt::format("{}{}={}", query.empty() ? "" : "&", name, encoded(value));
  };
  if (!options.client.empty()) add("client", options.client);
  if (options.has_sender) add("sender", options.sender);
  if (!options.recipient.empty()) add("recipient", options.recipient);
  if (!options.reply.empty()) add("reply", options.reply);
  if (options.refused) add("refused", "1");
  if (options.one) add("one", "1");
  return query;
}

std::string text_of(const Json& of, const char* key) {
  const auto found = of.find(key);
  if (found == of.end() || found->is_null()) return {};
  return base::escaped(found->is_string() ? found->get<std::string>() : found->dump());
}

std::string tls_words(const Json& line) {
  const auto tls = line.find("tls");
  if (tls == line.end() || !tls->is_object()) return "no TLS";
  return fmt::format("{} {}", text_of(*tls, "version"), text_of(*tls, "cipher"));
}

std::string begin_words(const Json& line) {
  const Json client = line.value("client", Json::object());
  std::string out = fmt::format("-- {} port {}, {}", text_of(client, "ip"), text_of(client, "port"),
                                tls_words(line));
  if (const std::string helo = text_of(client, "helo"); !helo.empty()) out += ", helo " + helo;
  if (line.contains("mail_from")) {
    out += fmt::format(", from <{}>, {} recipients so far", text_of(line, "mail_from"),
                       text_of(line, "recipients"));
  }
  return out;
}

std::string verdict_words(const Json& line) {
  std::string dkim;
  for (const Json& one : line.value("dkim", Json::array())) {
    dkim += (dkim.empty() ? "" : "+") + base::escaped(one.get<std::string>());
  }
  return fmt::format("-- spf={} dkim={} dmarc={}: {}", text_of(line, "spf"),
                     dkim.empty() ? "none" : dkim, text_of(line, "dmarc"),
                     text_of(line, "disposition"));
}

// What a person reads of one line; the session's number is shortened to what differs.
std::string in_words(std::string_view text) {
  const Json line = Json::parse(text, nullptr, false);
  if (!line.is_object()) return base::escaped(text);
  const std::string event = line.value("event", "");
  if (event == "tracing") return "tracing; Ctrl-C ends it";
  if (event == "dropped") return fmt::format("-- {} lines found no room", text_of(line, "lines"));
  std::string said;
  if (event == "client") said = "C: " + text_of(line, "line");
  if (event == "server") said = "S: " + text_of(line, "line");
  if (event == "begin") said = begin_words(line);
  if (event == "tls") said = fmt::format("-- TLS {}: {}", text_of(line, "result"), tls_words(line));
  if (event == "message") said = fmt::format("-- message, {} bytes", text_of(line, "bytes"));
  if (event == "verdict") said = verdict_words(line);
  if (event == "end") {
    said = fmt::format("-- end: {} messages, {} bytes{}", text_of(line, "messages"),
                       text_of(line, "received_bytes"),
                       line.value("said_goodbye", false) ? "" : ", without QUIT");
  }
  const std::string time = text_of(line, "time");
  return fmt::format("{} {} {}", time.size() > 11 ? time.substr(11) : time,
                     text_of(line, "session"), said);
}

int run_trace(const TraceOptions& options) {
  const std::string query = query_of(options);
  if (const auto filter = server::TraceFilter::parse(query); !filter) {
    complain(filter.error());
    return kUsage;
  }
  const auto socket = socket_of(options.place);
  if (!socket) {
    complain(socket.error());
    return kFailed;
  }
  const Interruption interruption;
  Output output(interruption.fd());
  const auto done =
      follow_admin("unix:" + *socket, "/trace" + (query.empty() ? "" : "?" + query),
                   interruption.fd(), [&](std::string_view line) {
                     const std::string text = options.json ? std::string(line) : in_words(line);
                     return output.write(text + '\n') && output.flush() && !output.reader_gone();
                   });
  output.flush();
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_trace(CLI::App& program, Commands& commands) {
  CLI::App* trace = program.add_subcommand("trace", "Dialogues as they happen");
  const auto options = std::make_shared<TraceOptions>();
  add_control_place(*trace, options->place);
  trace->add_option("--client", options->client, "Who connects: an address, or a network A/BITS")
      ->type_name("IP");
  auto* sender = trace->add_option("--sender", options->sender,
                                   "MAIL FROM; <> is the null one; @DOMAIN: any address there");
  sender->type_name("ADDR");
  trace->add_option("--recipient", options->recipient, "RCPT TO; @DOMAIN as above")
      ->type_name("ADDR");
  trace->add_option("--reply", options->reply, "Once a reply begins so: 550, \"550 5.7\"")
      ->type_name("CODE");
  trace->add_flag("--refused", options->refused, "Once anything is refused or put off");
  trace->add_flag("--one", options->one, "End with the first session that matches");
  trace->add_flag("--json", options->json, "One JSON object a line");
  trace->footer(
      "A session is shown from where it matches all that is asked, to its end. Messages and what\n"
      "AUTH is given are left out. The receiver never waits for a trace: lines that find no room\n"
      "are dropped and counted.");
  commands.push_back({trace, [options, sender] {
                        options->has_sender = sender->count() > 0;
                        return run_trace(*options);
                      }});
}

}  // namespace mxring::cli
