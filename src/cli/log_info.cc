// `mxring log info`: what is kept: segments, offsets, bytes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

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
  segment.records == 0 || unix_us == 0 ? json.null() : json.value(base::format_wall_time(unix_us));
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
  json.key("log_id");
  reader.log_id().known() ? json.value(reader.log_id().hex()) : json.null();
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

// How much of the table there is room for.
struct Shape {
  bool seconds = true;
  bool file = true;
};

using Cells = std::vector<std::string>;  // of one line

Cells cells_of(const SegmentInfo& segment, const Shape& shape) {
  constexpr std::size_t kDay = 11;  // "2026-11-22T"
  const auto time = [&](std::int64_t unix_us) {
    // Without milliseconds: "2026-11-22T01:02:03".
    return base::format_wall_time(unix_us).substr(0, shape.seconds ? 19 : 16);
  };
  Cells cells{fmt::format("{}", segment.first), fmt::format("{}", segment.next),
              base::format_count(segment.records), base::format_bytes(segment.bytes)};
  if (segment.records == 0 || segment.first_received_at_us == 0 ||
      segment.last_received_at_us == 0) {
    cells.insert(cells.end(), {"-", "-"});
  } else {
    const std::string from = time(segment.first_received_at_us);
    std::string to = time(segment.last_received_at_us);
    if (to.starts_with(from.substr(0, kDay))) to.erase(0, kDay);
    cells.insert(cells.end(), {from + 'Z', to + 'Z'});
  }
  if (shape.file) cells.push_back(segment.file);
  return cells;
}

// Numbers to the right, words to the left, each column as wide as what is in it.
std::string lines_of(const std::vector<Cells>& lines, std::size_t& width) {
  constexpr std::size_t kNumbers = 4;
  std::vector<std::size_t> widths(lines.front().size());
  for (const Cells& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string out;
  width = 0;
  for (const Cells& line : lines) {
    const std::size_t begin = out.size();
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (i > 0) out += "  ";
      out += i < kNumbers ? fmt::format("{:>{}}", line[i], widths[i])
                          : fmt::format("{:<{}}", line[i], widths[i]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    width = std::max(width, out.size() - begin);
    out += '\n';
  }
  return out;
}

std::string segment_lines(const std::vector<SegmentInfo>& segments, std::size_t columns) {
  std::string out;
  for (const Shape shape : {Shape{}, Shape{.seconds = false}, Shape{false, false}}) {
    std::vector<Cells> lines{{"first", "next", "records", "bytes", "from", "to"}};
    if (shape.file) lines.front().push_back("file");
    for (const SegmentInfo& segment : segments) lines.push_back(cells_of(segment, shape));
    std::size_t width = 0;
    out = lines_of(lines, width);
    if (columns == 0 || width <= columns) break;
  }
  return out;
}

std::string info_table(const LogReader& reader, const std::vector<SegmentInfo>& segments,
                       const std::vector<seglog::SetAside>& aside) {
  const Totals totals = add_up(segments);
  std::string out = segment_lines(segments, output_columns());
  out += fmt::format(
      "{} in {}, {}; the next offset is {}\n", base::counted(totals.records, "record"),
      base::counted(segments.size(), "segment"), base::format_bytes(totals.bytes), reader.end());
  if (reader.log_id().known()) out += fmt::format("log id {}\n", reader.log_id().hex());
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
