// What lies beside each report file (REPORT.xml.gz.json): whom it goes to, and how far that has
// come. `report build` writes it, `report send` keeps it up to date, so that a report that was
// delivered is never sent again and one that was put off is.
//
// Files are replaced as a whole. Failure: a line for a person.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "report/report_name.h"

namespace mxring::report {

enum class DeliveryState : std::uint8_t {
  kWaiting,   // not tried yet, or put off by the other side
  kSent,      // taken by its server
  kRefused,   // it will not take it (5xx, null MX, no such domain)
  kTooLarge,  // over its server's SIZE
  kGivenUp,   // put off for too long
};
std::string_view word(DeliveryState state);

struct Delivery {
  std::string address;
  std::string host;
  DeliveryState state = DeliveryState::kWaiting;
  std::uint32_t attempts = 0;
  std::int64_t tried_since_s = 0;  // Unix time of the first attempt; 0: none yet
  std::string last_reply;          // or what went wrong; untrusted bytes
  std::string server;              // "mx.example.org [192.0.2.1]:25"
  std::string tls;                 // "TLSv1.3 TLS_AES_128_GCM_SHA256"; empty: in the clear
};

struct DeliverySheet {
  std::string policy_domain;
  std::string report_id;
  std::string submitter;
  std::string organization;
  std::string email;
  Period period;
  std::vector<Delivery> deliveries;

  bool waiting() const;
};

std::filesystem::path sheet_path(const std::filesystem::path& report);

std::string to_json(const DeliverySheet& sheet);
std::expected<DeliverySheet, std::string> parse_sheet(std::string_view json);

std::expected<DeliverySheet, std::string> read_sheet(const std::filesystem::path& path);
// All of it, durably, under its name, or nothing of it.
std::expected<void, std::string> write_file(const std::filesystem::path& path,
                                            std::string_view bytes);
// Contents of a file of at most bytes_max.
std::expected<std::string, std::string> read_file(const std::filesystem::path& path,
                                                  std::uint64_t bytes_max);

}  // namespace mxring::report
