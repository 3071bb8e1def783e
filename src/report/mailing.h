// Reports on their way out: finds the sheets, makes a mail for each delivery that is still waiting,
// and notes on the sheet what became of it.
//
// Nothing is sent whose outcome could not be kept: a folder is locked, and a sheet is written,
// before a mail is made from it. An outcome is kept as soon as it is known, so that a process that
// ends at any moment repeats the one delivery that was decided just then and no other; the
// Message-ID is the same again. What is put off for days is given up, so that no server sees a
// report for ever; an address whose server refused a report for good gets no other.
//
// Thread: one. Failure: a line for a person, and the reports it is about are left out.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mailauth/dkim/signer.h"
#include "report/audience.h"
#include "report/delivery_sheet.h"
#include "report/folder_lock.h"
#include "report/letter.h"

namespace mxring::report {

struct Parcel {
  std::filesystem::path file;
  DeliverySheet sheet;
};

class Mailing {
 public:
  using Complain = std::function<void(std::string_view)>;
  struct Options {
    mailauth::dkim::Signer* signer = nullptr;  // none: unsigned
    std::string signing_domain;
    std::int64_t now_unix_s = 0;
    // RFC 5321 4.5.4.1: at least four or five days.
    std::int64_t give_up_after_s = 5 * 86'400;
  };

  Mailing(Options options, Complain complain);

  // Reports, and folders with reports. Reports named without a sheet beside them are complained
  // about, those in a folder are none of ours.
  void add(const std::vector<std::string>& paths);

  // What is to be delivered. They stay where they are until the next add().
  std::vector<Letter>& letters() { return letters_; }
  const std::vector<Parcel>& parcels() const { return parcels_; }
  // Keeps a decided letter's fate on its sheet.
  void note(const Letter& letter, std::int64_t now_unix_s);

  std::uint64_t count(DeliveryState state) const;
  // Something was complained about.
  bool has_failed() const { return failed_; }

 private:
  // Which of a parcel's deliveries a letter is.
  struct Place {
    std::size_t parcel = 0;
    std::size_t delivery = 0;
  };

  void fail(std::string_view message);
  bool lock(const std::filesystem::path& folder);
  bool save(const Parcel& parcel);
  void load(const std::filesystem::path& file);
  bool is_ours_to_sign(const Parcel& parcel);
  void write_letters(std::string_view report);
  void leave_out_refused(Parcel& parcel);
  Refusals* refusals_of(const std::filesystem::path& folder);
  void note_refusal(const Parcel& parcel, const Delivery& delivery, std::int64_t now_unix_s);

  Options options_;
  Complain complain_;
  std::map<std::filesystem::path, FolderLock> locks_;
  std::map<std::filesystem::path, Refusals> refusals_;
  std::vector<Parcel> parcels_;
  std::vector<Letter> letters_;
  std::vector<Place> places_;  // of each letter
  bool failed_ = false;
};

}  // namespace mxring::report
