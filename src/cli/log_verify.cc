// `mxring log verify`: reads the whole log and checks every CRC, every offset and the bytes between
// records. Damage makes the exit code 1; a torn tail does not: nobody was told of what is in it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "seglog/verify.h"

namespace mxring::cli {

namespace {

struct VerifyOptions {
  std::string directory;
  bool json = false;
};

std::string report_json(const seglog::VerifyReport& report) {
  base::JsonWriter json;
  json.begin_object();
  json.key("ok").value(report.ok());
  json.key("first").value(report.first).key("next").value(report.next);
  json.key("records").value(report.records).key("bytes").value(report.bytes);
  json.key("damaged").begin_array();
  for (const seglog::Damage& damage : report.damaged) {
    json.begin_object();
    json.key("offset").value(damage.offset).key("records").value(damage.records);
    json.key("segment").value(damage.segment).key("position").value(damage.position);
    json.key("bytes").value(damage.bytes).key("what").value(damage.what);
    json.end_object();
  }
  json.end_array();
  json.key("torn_tail");
  if (report.torn_tail) {
    json.begin_object();
    json.key("segment").value(report.torn_tail->segment);
    json.key("position").value(report.torn_tail->position);
    json.key("bytes").value(report.torn_tail->bytes);
    json.end_object();
  } else {
    json.null();
  }
  json.end_object();
  return std::move(json).text() + '\n';
}

// Those that are there: `next` is not.
std::string offsets(std::uint64_t first, std::uint64_t next) {
  if (next <= first) return {};
  if (next - first == 1) return fmt::format(", offset {}", first);
  return fmt::format(", offsets {} to {}", first, next - 1);
}

std::string report_text(const seglog::VerifyReport& report) {
  std::string out;
  std::uint64_t lost = 0;
  for (const seglog::Damage& damage : report.damaged) {
    if (damage.set_aside) {
      out += fmt::format(
          "{}: set aside at a start of the server, because its header is damaged; it may hold "
          "records that were acknowledged, and readers leave it alone\n",
          damage.segment);
      continue;
    }
    lost += damage.records;
    out += fmt::format("{}, byte {}: {}; ", damage.segment, damage.position,
                       base::escaped(damage.what));
    out += damage.records == 0
               ? std::string("no record is lost\n")
               : fmt::format("{} lost from offset {}\n", base::counted(damage.records, "record"),
                             damage.offset);
  }
  if (report.torn_tail) {
    out += fmt::format(
        "{}: {} after byte {} are of a batch that was never acknowledged; the next start of the "
        "server cuts them off\n",
        report.torn_tail->segment, base::format_bytes(report.torn_tail->bytes),
        report.torn_tail->position);
  }
  out += fmt::format("{}: {} in {}{}", report.ok() ? "ok" : "damaged",
                     base::counted(report.records, "record"), base::format_bytes(report.bytes),
                     offsets(report.first, report.next));
  if (!report.ok()) {
    out += fmt::format(
        "; {} damaged, {} lost. Readers skip them; keep the files and look at the disk.",
        base::counted(report.damaged.size(), "place is", "places are"),
        base::counted(lost, "record"));
  }
  return out + '\n';
}

int run_verify(const VerifyOptions& options) {
  Progress progress("verify");
  const auto report = seglog::verify(options.directory, [&](double fraction) {
    progress.show(fraction, base::escaped(options.directory));
  });
  progress.clear();
  if (!report) {
    complain_about_log(report.error());
    return kFailed;
  }
  Output output;
  output.write(options.json ? report_json(*report) : report_text(*report));
  output.flush();
  return output.failed() || !report->ok() ? kFailed : kDone;
}

}  // namespace

void add_log_verify(CLI::App& log, Commands& commands) {
  CLI::App* verify = log.add_subcommand("verify", "Check every CRC and find gaps");
  const auto options = std::make_shared<VerifyOptions>();
  add_log_directory(*verify, options->directory);
  verify->add_flag("--json", options->json, "One JSON object");
  commands.push_back({verify, [options] { return run_verify(*options); }});
}

}  // namespace mxring::cli
