// A record, or a gap, on its way: a copy that stays where it is until it is dealt with.
//
// Memory: kept when the item is used for the next record. Thread: one.
#pragma once

#include <mxring/record.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seglog/group_reader.h"

namespace mxring::relay {

class Item {
 public:
  void set_record(const Record& record);
  // From a dead letter's files; false when the metadata is malformed.
  bool set_stored(Offset offset, const LogId& log, std::int64_t received_at_us,
                  std::string_view metadata, std::string_view message);
  void set_gap(const seglog::RecordGap& gap, const LogId& log, std::int64_t noticed_at_us);
  void clear();

  const Record& record() const { return record_; }
  const std::optional<seglog::RecordGap>& gap() const { return gap_; }
  std::int64_t time_us() const { return record_.received_at_us; }
  Offset next() const { return gap_ ? gap_->next : record_.offset + 1; }
  // "<log id>_<offset>", of a gap "<log id>_<first>-<next>": the same for ever, and without dots.
  const std::string& id() const { return id_; }
  // What the record is stored with, for a dead letter.
  std::string_view metadata() const;
  std::uint64_t bytes() const { return bytes_.size() + sizeof(Item); }

  // Which of the record's recipients it is to be delivered to; for sinks that have recipients.
  std::vector<std::uint32_t>& recipients() { return recipients_; }
  const std::vector<std::uint32_t>& recipients() const { return recipients_; }

 private:
  void make_id(const LogId& log);

  std::string bytes_;
  Record record_;
  std::optional<seglog::RecordGap> gap_;
  std::string id_;
  std::vector<std::uint32_t> recipients_;
};

// The id's log and the offset after it; nothing when it is none of ours.
struct ParsedId {
  std::string_view log;  // 32 hexadecimal digits
  Offset next = 0;
};
std::optional<ParsedId> parse_id(std::string_view id);

}  // namespace mxring::relay
