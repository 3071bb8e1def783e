#include "report/mailing.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/assert.h"
#include "base/text.h"
#include "base/units.h"
#include "report/report_message.h"

namespace mxring::report {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kReportBytesMax = 256 << 20;

bool are_aligned(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  MXRING_ASSERT(a.size() >= b.size());
  return a == b || (a.ends_with(b) && a[a.size() - b.size() - 1] == '.');
}

DeliveryState state_of(Fate fate) {
  switch (fate) {
    case Fate::kAccepted:
      return DeliveryState::kSent;
    case Fate::kRefused:
      return DeliveryState::kRefused;
    case Fate::kTooLarge:
      return DeliveryState::kTooLarge;
    case Fate::kUndecided:
    case Fate::kPutOff:
      break;
  }
  return DeliveryState::kWaiting;
}

bool is_report(const fs::path& file) {
  std::error_code ignored;
  return file.filename().string().ends_with(".xml.gz") && fs::exists(sheet_path(file), ignored);
}

}  // namespace

Mailing::Mailing(Options options, Complain complain)
    : options_(std::move(options)), complain_(std::move(complain)) {}

void Mailing::fail(std::string_view message) {
  complain_(message);
  failed_ = true;
}

void Mailing::add(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::status(path, error).type() == fs::file_type::not_found) {
      fail(fmt::format("{}: no such report or folder", base::escaped(path)));
      continue;
    }
    if (!fs::is_directory(path, error)) {
      files.emplace_back(path);
      continue;
    }
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      if (is_report(at->path())) files.push_back(at->path());
    }
    if (error) fail(fmt::format("{}: {}", base::escaped(path), error.message()));
  }
  std::ranges::sort(files);
  files.erase(std::ranges::unique(files).begin(), files.end());
  for (const fs::path& file : files) load(file);
}

bool Mailing::lock(const fs::path& folder) {
  if (locks_.contains(folder)) return true;
  auto taken = FolderLock::take(folder);
  if (taken) {
    locks_.emplace(folder, *std::move(taken));
    return true;
  }
  fail(taken.error());
  return false;
}

bool Mailing::save(const Parcel& parcel) {
  MXRING_ASSERT(parcel.file.has_filename());
  const auto saved = write_file(sheet_path(parcel.file), to_json(parcel.sheet));
  if (!saved) fail(saved.error());
  return saved.has_value();
}

void Mailing::load(const fs::path& file) {
  if (!lock(file.parent_path())) return;
  auto sheet = read_sheet(sheet_path(file));
  if (!sheet) return fail(sheet.error());
  Parcel parcel{file, *std::move(sheet)};
  if (!parcel.sheet.waiting()) {
    parcels_.push_back(std::move(parcel));
    return;
  }
  leave_out_refused(parcel);
  if (!parcel.sheet.waiting()) {
    if (save(parcel)) parcels_.push_back(std::move(parcel));
    return;
  }
  const auto report = read_file(file, kReportBytesMax);
  if (!report) return fail(report.error());
  if (!is_ours_to_sign(parcel) || !save(parcel)) return;
  parcels_.push_back(std::move(parcel));
  write_letters(*report);
}

Refusals* Mailing::refusals_of(const fs::path& folder) {
  const auto known = refusals_.find(folder);
  if (known != refusals_.end()) return &known->second;
  auto read = Refusals::read(folder);
  if (!read) {
    fail(read.error());
    return nullptr;
  }
  return &refusals_.emplace(folder, *std::move(read)).first->second;
}

// Refused once for good, by another report.
void Mailing::leave_out_refused(Parcel& parcel) {
  const Refusals* refusals = refusals_of(parcel.file.parent_path());
  for (Delivery& delivery : parcel.sheet.deliveries) {
    if (delivery.state != DeliveryState::kWaiting || refusals == nullptr) continue;
    if (!refusals->has(delivery.address)) continue;
    delivery.state = DeliveryState::kRefused;
    delivery.last_reply =
        fmt::format("not sent: an earlier report was refused ({})", Refusals::kFile);
  }
}

void Mailing::note_refusal(const Parcel& parcel, const Delivery& delivery,
                           std::int64_t now_unix_s) {
  Refusals* refusals = refusals_of(parcel.file.parent_path());
  if (refusals == nullptr) return;
  constexpr std::size_t kDay = 10;  // "2026-11-22"
  const std::string day = base::format_wall_time(now_unix_s * 1'000'000).substr(0, kDay);
  if (const auto added = refusals->add(delivery.address, day, delivery.last_reply); !added) {
    fail(added.error());
  }
}

bool Mailing::is_ours_to_sign(const Parcel& parcel) {
  if (options_.signer == nullptr) return true;
  if (are_aligned(options_.signing_domain, parcel.sheet.submitter)) return true;
  fail(fmt::format(
      "{}: comes from {}, which a signature of {} says nothing about; RFC 9990 wants "
      "reports to pass DMARC",
      base::escaped(parcel.file.string()), parcel.sheet.email, options_.signing_domain));
  return false;
}

// A mail for every delivery of the last parcel that is still waiting.
void Mailing::write_letters(std::string_view report) {
  MXRING_ASSERT(!parcels_.empty());
  Parcel& parcel = parcels_.back();
  const std::string name = parcel.file.filename().string();
  for (std::size_t i = 0; i < parcel.sheet.deliveries.size(); ++i) {
    Delivery& delivery = parcel.sheet.deliveries[i];
    if (delivery.state != DeliveryState::kWaiting) continue;
    std::string content =
        compose_report(parcel.sheet, delivery.address, {name, report}, options_.now_unix_s);
    if (options_.signer != nullptr) {
      options_.signer->set_now(options_.now_unix_s);
      const auto field = options_.signer->sign(content);
      if (!field) return fail(field.error());
      content.insert(0, *field);
    }
    MXRING_ASSERT(places_.size() == letters_.size());
    Letter& letter = letters_.emplace_back();
    letter.mail_from = parcel.sheet.email;
    letter.rcpt_to = delivery.address;
    letter.host = delivery.host;
    letter.content = std::move(content);
    letter.number = places_.size();
    places_.push_back({parcels_.size() - 1, i});
    MXRING_ASSERT(places_.size() == letters_.size());
  }
}

void Mailing::note(const Letter& letter, std::int64_t now_unix_s) {
  MXRING_ASSERT(letter.number < places_.size());
  const Place place = places_[letter.number];
  MXRING_ASSERT(place.parcel < parcels_.size());
  Parcel& parcel = parcels_[place.parcel];
  MXRING_ASSERT(place.delivery < parcel.sheet.deliveries.size());
  Delivery& delivery = parcel.sheet.deliveries[place.delivery];
  if (delivery.tried_since_s == 0) delivery.tried_since_s = now_unix_s;
  delivery.state = state_of(letter.fate);
  if (delivery.state == DeliveryState::kWaiting &&
      now_unix_s - delivery.tried_since_s >= options_.give_up_after_s) {
    delivery.state = DeliveryState::kGivenUp;
  }
  MXRING_ASSERT(delivery.tried_since_s != 0 || now_unix_s == 0);
  ++delivery.attempts;
  delivery.last_reply =
      letter.code == 0 ? letter.reply : fmt::format("{} {}", letter.code, letter.reply);
  delivery.server = letter.server;
  delivery.tls = letter.tls;
  save(parcel);
  if (delivery.state == DeliveryState::kRefused) note_refusal(parcel, delivery, now_unix_s);
}

std::uint64_t Mailing::count(DeliveryState state) const {
  std::uint64_t found = 0;
  for (const Parcel& parcel : parcels_) {
    found += static_cast<std::uint64_t>(
        std::ranges::count(parcel.sheet.deliveries, state, &Delivery::state));
  }
  return found;
}

}  // namespace mxring::report
