// `mxring log export`: copies messages out, to .eml files, an mbox, a Maildir or JSON lines.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/mail_store.h"
#include "cli/output.h"
#include "seglog/group_reader.h"

namespace mxring::cli {

namespace {

const std::map<std::string, StoreFormat>& formats() {
  static const std::map<std::string, StoreFormat> names{{"eml", StoreFormat::kEml},
                                                        {"mbox", StoreFormat::kMbox},
                                                        {"maildir", StoreFormat::kMaildir},
                                                        {"jsonl", StoreFormat::kJsonLines}};
  return names;
}

struct ExportOptions {
  Selection selection;
  std::string format;
  std::string out;
  bool force = false;
  bool as_received = false;
  bool json = false;
  std::string group;
};

struct Exported {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t left_out = 0;  // binary content, which the format cannot hold
};

int report(const ExportOptions& options, const Exported& exported, int result) {
  if (options.out == "-" || options.out == "/dev/stdout") {  // the messages are there
    complain(fmt::format("{}, {}", base::counted(exported.records, "message"),
                         base::format_bytes(exported.bytes)));
    return result;
  }
  Output output;
  if (options.json) {
    base::JsonWriter json;
    json.begin_object();
    json.key("records").value(exported.records).key("bytes").value(exported.bytes);
    json.key("left_out").value(exported.left_out);
    json.key("complete").value(result == kDone);
    json.key("format").value(options.format).key("out").value(options.out).end_object();
    output.write(std::move(json).text() + '\n');
  } else {
    output.write(fmt::format("{}, {}, to {}\n", base::counted(exported.records, "message"),
                             base::format_bytes(exported.bytes), options.out));
  }
  output.flush();
  return output.failed() ? kFailed : result;
}

// What the group has not dealt with, as of now. Committed once it is stored, and not before.
int run_group_export(const ExportOptions& options) {
  auto opened = seglog::GroupReader::open(options.selection.directory, options.group, {},
                                          base::read_clocks());
  if (!opened) {
    complain(base::escaped(opened.error().message));
    return kFailed;
  }
  seglog::GroupReader& reader = *opened;
  auto store = MailStore::create({formats().at(options.format), options.out, options.force});
  if (!store) {
    complain(store.error());
    return kFailed;
  }
  const Offset end = reader.log().end();
  Exported exported;
  Stored stored;
  int result = kDone;
  while (stored && reader.position() < end) {
    const auto step = reader.next();
    if (!step) {
      complain(base::escaped(step.error().message));
      return kFailed;  // nothing is committed, and all of it comes again
    }
    if (step->gap) {
      complain(fmt::format("records {} to {} {}", step->gap->first, step->gap->next - 1,
                           step->gap->removed ? "were removed" : "are damaged"));
      result = kFailed;
    }
    if (!step->record) continue;
    const Record& record = *step->record;
    stored = options.as_received ? (*store)->add(record, record.message)
                                 : (*store)->add(record, record.delivered());
    ++exported.records;
    exported.bytes += record.message.size();
  }
  if (stored) stored = (*store)->finish();
  if (!stored) {
    complain(stored.error());
    return kFailed;
  }
  const base::Now now = base::read_clocks();
  auto done = reader.commit(reader.position(), now);
  if (done) done = reader.flush(now);
  if (!done) {
    complain(base::escaped(done.error().message));
    return kFailed;
  }
  return report(options, exported, result);
}

int run_export(const ExportOptions& options) {
  if (!options.group.empty()) return run_group_export(options);
  auto reader = open_log(options.selection.directory);
  if (!reader) return reader.error();
  // Before anything is made: a beginning that is wrong leaves nothing behind.
  if (const int failed = seek_to_start(*reader, options.selection); failed != kDone) return failed;
  auto store = MailStore::create({formats().at(options.format), options.out, options.force});
  if (!store) {
    complain(store.error());
    return kFailed;
  }
  // What arrives while the export runs is left for the next one.
  const Offset end = reader->end();
  Progress progress("export");
  Exported exported;
  Stored stored;
  // Lines end in LF there: a bare CR or LF would come out as something else.
  const StoreFormat format = formats().at(options.format);
  const bool text_only = format == StoreFormat::kMbox || format == StoreFormat::kMaildir;
  const int walked =
      walk_from_here(*reader, options.selection, &progress, [&](const Record& record) {
        if (record.offset >= end) return false;
        if (text_only && record.is_binary) {
          ++exported.left_out;
          return true;
        }
        stored = options.as_received ? (*store)->add(record, record.message)
                                     : (*store)->add(record, record.delivered());
        if (!stored) return false;
        ++exported.records;
        exported.bytes += record.message.size();
        return true;
      });
  if (stored) stored = (*store)->finish();
  if (!stored) {
    complain(stored.error());
    return kFailed;
  }
  if (exported.left_out > 0) {
    complain(fmt::format("{} left out: binary content (BODY=BINARYMIME) fits eml and jsonl only",
                         base::counted(exported.left_out, "message")));
  }
  return report(options, exported, walked);
}

}  // namespace

void add_log_export(CLI::App& log, Commands& commands) {
  CLI::App* command = log.add_subcommand("export", "Copy messages out of the log");
  const auto options = std::make_shared<ExportOptions>();
  add_selection(*command, options->selection);
  std::vector<std::string> names;
  for (const auto& [name, format] : formats()) names.push_back(name);
  command->add_option("--format", options->format, "eml, mbox, maildir or jsonl")
      ->required()
      ->check(CLI::IsMember(names));
  command
      ->add_option("--out", options->out,
                   "Directory (eml, maildir) or file (mbox, jsonl; - is standard\noutput)")
      ->required()
      ->type_name("PATH");
  command
      ->add_option("--group", options->group,
                   "What this group has not dealt with; committed once it is stored")
      ->type_name("G")
      ->excludes("--from")
      ->excludes("--since")
      ->excludes("--until")
      ->excludes("--count");
  command->add_flag("--force", options->force, "Replace files that exist");
  command->add_flag("--as-received", options->as_received,
                    "Without our trace fields, exactly as received");
  command->add_flag("--json", options->json, "Say what was done as one JSON object");
  command->footer("mbox (mboxrd quoting) and maildir have LF line ends, the others keep CRLF.");
  commands.push_back({command, [options] { return run_export(*options); }});
}

}  // namespace mxring::cli
