// `mxring log find`: the records that match all that is asked, without reading messages.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/record_question.h"
#include "cli/record_text.h"
#include "cli/time_argument.h"
#include "seglog/find.h"

namespace mxring::cli {

namespace {

struct FindOptions : QuestionText {
  std::string directory;
  std::string since, until;
  bool json = false;
};

int show(LogReader& reader, const std::vector<Offset>& offsets, const RecordQuestion& question,
         const FindOptions& options) {
  Output output;
  const bool colour = colour_wanted();
  int result = kDone;
  for (const Offset offset : offsets) {
    if (offset != reader.position()) {
      if (const auto moved = reader.stay_at(offset); !moved) {
        complain(describe(moved.error()));
        return kFailed;
      }
    }
    const auto record = reader.next();
    if (!record) {
      complain(describe(record.error()));
      result = kFailed;
      if (!can_continue(record.error())) break;
    } else if (*record && (*record)->offset == offset && question.asks(**record)) {
      if (!output.write(options.json ? record_json(**record) : record_listing(**record, colour))) {
        break;
      }
    }
  }
  output.flush();
  return output.failed() ? kFailed : result;
}

int run_find(const FindOptions& options) {
  auto reader = open_log(options.directory);
  if (!reader) return reader.error();
  reader->include_refusals(options.refused);
  RecordQuestion question(options);
  const base::WallTime now = base::read_clocks().wall;
  if (!options.since.empty()) question.since(*parse_time(options.since, now));
  if (!options.until.empty()) question.until(*parse_time(options.until, now));
  Offset first = question.offset().value_or(reader->first());
  const Offset next = question.offset() ? first + 1 : reader->end();
  if (!options.since.empty()) {
    // Clocks are set back now and then: what an hour before that says nothing is looked at too.
    constexpr std::int64_t kSlackUs = 3600 * 1'000'000LL;
    if (reader->seek_time(question.since_us() - kSlackUs)) {
      first = std::max(first, reader->position());
    }
  }
  const auto found = seglog::find_records(
      options.directory, first, next, [&](const Record& record) { return question.asks(record); });
  if (!found) {
    complain_about_log(found.error());
    return kFailed;
  }
  return show(*reader, found->offsets, question, options);
}

void add_time_option(CLI::App& command, const char* name, std::string& text, const char* help) {
  command.add_option(name, text, help)->type_name("TIME")->check([](const std::string& given) {
    return parse_time(given, base::read_clocks().wall)
               ? std::string()
               : fmt::format("{}: not a time; {}", base::escaped(given), kTimeForms);
  });
}

}  // namespace

void add_log_find(CLI::App& log, Commands& commands) {
  CLI::App* find = log.add_subcommand("find", "Records that match all that is asked");
  const auto options = std::make_shared<FindOptions>();
  add_log_directory(*find, options->directory);
  find->add_option("--recipient", options->recipient, "RCPT TO; @DOMAIN: any address there")
      ->type_name("ADDR");
  find->add_option("--sender", options->sender, "MAIL FROM; <> is the null one; @DOMAIN as above")
      ->type_name("ADDR");
  find->add_option("--header-from", options->header_from, "The address in the header's From")
      ->type_name("ADDR");
  find->add_option("--message-id", options->message_id, "With or without angle brackets")
      ->type_name("ID");
  find->add_option("--id", options->id, "A record id, an offset or a queue id")->type_name("ID");
  find->add_option("--client", options->client, "Who connected: an address, or a network A/BITS")
      ->type_name("IP")
      ->check([](const std::string& text) {
        return is_client_network(text)
                   ? std::string()
                   : fmt::format("{}: not an address or A/BITS", base::escaped(text));
      });
  find->add_option("--disposition", options->disposition)
      ->check(CLI::IsMember({"accept", "quarantine", "reject", "tempfail"}));
  add_time_option(*find, "--since", options->since, "Received then or later");
  add_time_option(*find, "--until", options->until, "Received before");
  find->add_flag("--refused", options->refused, "Also mail that was refused by DMARC policy");
  find->add_flag("--json", options->json, "One JSON object per line");
  commands.push_back({find, [options] {
                        if (options->disposition == "reject" ||
                            options->disposition == "tempfail") {
                          options->refused = true;
                        }
                        return run_find(*options);
                      }});
}

}  // namespace mxring::cli
