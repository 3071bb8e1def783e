// `mxring log info`: what is kept: segments, offsets, bytes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "seglog/log_directory.h"

namespace mxring::cli {

namespace {

struct InfoOptions {
  std::string directory;
  bool json = false;
};

struct Totals {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
};

Totals add_up(const std::vector<SegmentInfo>& segments) {
  Totals totals;
  for (const SegmentInfo& segment : segments) {
    totals.records += segment.records;
    totals.bytes += segment.bytes;
  }
  return totals;
}

void write_time(base::JsonWriter& json, std::string_view key, const SegmentInfo& segment,
                std::int64_t unix_us) {
  json.key(key);
  segment.records == 0 ? json.null() : json.value(base::format_wall_time(unix_us));
}

// Segments that readers leave alone, and that take room all the same.
std::vector<seglog::SetAside> set_aside(const std::string& directory) {
  const auto opened = seglog::open_log(directory);
  return opened ? seglog::list_set_aside(opened->fd()) : std::vector<seglog::SetAside>{};
}

std::string info_json(const LogReader& reader, const std::vector<SegmentInfo>& segments,
                      const std::vector<seglog::SetAside>& aside) {
  const Totals totals = add_up(segments);
  base::JsonWriter json;
  json.begin_object();
  json.key("first").value(reader.first()).key("next").value(reader.end());
  json.key("records").value(totals.records).key("bytes").value(totals.bytes);
  json.key("segments").begin_array();
  for (const SegmentInfo& segment : segments) {
    json.begin_object();
    json.key("file").value(segment.file);
    json.key("first").value(segment.first).key("next").value(segment.next);
    json.key("records").value(segment.records).key("bytes").value(segment.bytes);
    json.key("file_bytes").value(segment.file_bytes);
    write_time(json, "first_received_at", segment, segment.first_received_at_us);
    write_time(json, "last_received_at", segment, segment.last_received_at_us);
    json.end_object();
  }
  json.end_array();
  json.key("set_aside").begin_array();
  for (const seglog::SetAside& segment : aside) {
    json.begin_object();
    json.key("file").value(seglog::damaged_name(segment.name));
    json.key("first").value(segment.name.base_offset);
    json.key("file_bytes").value(segment.file_bytes);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::string info_table(const LogReader& reader, const std::vector<SegmentInfo>& segments,
                       const std::vector<seglog::SetAside>& aside) {
  const Totals totals = add_up(segments);
  std::string out;
  out += fmt::format("{:>12}  {:>12}  {:>10}  {:>10}  {:24}  {:24}  {}\n", "first", "next",
                     "records", "bytes", "from", "to", "file");
  for (const SegmentInfo& segment : segments) {
    const bool empty = segment.records == 0;
    out += fmt::format(
        "{:>12}  {:>12}  {:>10}  {:>10}  {:24}  {:24}  {}\n", segment.first, segment.next,
        base::format_count(segment.records), base::format_bytes(segment.bytes),
        empty ? "-" : base::format_wall_time(segment.first_received_at_us),
        empty ? "-" : base::format_wall_time(segment.last_received_at_us), segment.file);
  }
  out += fmt::format("{} records in {} segments, {}; the next offset is {}\n",
                     base::format_count(totals.records), segments.size(),
                     base::format_bytes(totals.bytes), reader.end());
  for (const seglog::SetAside& segment : aside) {
    out += fmt::format("set aside, with a damaged header: {}, {}\n",
                       seglog::damaged_name(segment.name), base::format_bytes(segment.file_bytes));
  }
  return out;
}

int run_info(const InfoOptions& options) {
  const auto reader = open_log(options.directory);
  if (!reader) return reader.error();
  const std::vector<SegmentInfo> segments = reader->segments();
  const auto aside = set_aside(options.directory);
  Output output;
  output.write(options.json ? info_json(*reader, segments, aside)
                            : info_table(*reader, segments, aside));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_log_info(CLI::App& log, Commands& commands) {
  CLI::App* info = log.add_subcommand("info", "Show segments, offsets and bytes");
  const auto options = std::make_shared<InfoOptions>();
  add_log_directory(*info, options->directory);
  info->add_flag("--json", options->json, "One JSON object");
  commands.push_back({info, [options] { return run_info(*options); }});
}

}  // namespace mxring::cli
