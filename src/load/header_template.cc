#include "load/header_template.h"

#include <fmt/format.h>

#include <array>
#include <ctime>
#include <iterator>
#include <utility>

#include "load/random.h"

namespace mxring::load {

namespace {

// Domains under .example (RFC 2606): nobody's mail can be hit by a mistake.
constexpr std::string_view kDomains[] = {"orchard.example",        "harbour.example",
                                         "mail.northwind.example", "lists.atlas.example",
                                         "billing.moss.example",   "news.lighthouse.example",
                                         "quarry.example",         "bluestone.example"};

constexpr std::pair<std::string_view, std::string_view> kPeople[] = {
    {"anna.lind", "Anna Lind"},       {"j.ortega", "Julia Ortega"},   {"tomasz", "Tomasz Wilk"},
    {"priya.n", "Priya Nair"},        {"office", "Front Office"},     {"m-haddad", "Mona Haddad"},
    {"sven.aalto", "Sven Aalto"},     {"k.osei", "Kwame Osei"},       {"lee", "Lee Min-jun"},
    {"no-reply", "Customer Service"}, {"bounces+7f3a", "The Weekly"}, {"robot", "Build Robot"}};

constexpr std::string_view kSubjects[] = {
    "Re: the report for Thursday",
    "Your order {n} has been shipped",
    "[atlas-users] question about the timetable, part {n}",
    "Invoice {n}",
    "Minutes of the meeting",
    "Fwd: travel plans, please read before Friday\n and tell the others as well",
    "Weekly news from the harbour: weather, garden,\n library hours and a new river crossing",
    "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_dem_Norden?=",
    "build {n} succeeded"};

constexpr std::string_view kMailers[] = {
    "User-Agent: Mozilla Thunderbird\n", "X-Mailer: Quill 4.2\n", "",
    "Precedence: bulk\nAuto-Submitted: auto-generated\n", "X-Priority: 3\nImportance: Normal\n"};

template <class Table>
const auto& pick(Random& random, const Table& table) {
  return table[random.below(std::size(table))];
}

// One hop the message has taken before it came to us; the first is the nearest (RFC 5321 4.4).
std::string received(Random& random, std::string_view domain, std::uint64_t hop) {
  return fmt::format(
      "Received: from {}{}.{} ({}{}.{} [192.0.2.{}])\n"
      "\tby relay{}.{} (Postfix) with ESMTPS id 4{:05X}{{n}}\n"
      "\tfor <{{to}}>; {{date}}\n",
      hop == 0 ? "out" : "app", random.below(20), domain, hop == 0 ? "out" : "app",
      random.below(20), domain, 1 + random.below(250), hop, domain, random.below(0xFFFFF));
}

std::string list_fields(std::string_view domain) {
  return fmt::format(
      "List-Id: Announcements <announce.{0}>\n"
      "List-Unsubscribe: <https://{0}/u/{{run}}{{n}}>, <mailto:leave@{0}?subject={{n}}>\n"
      "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n",
      domain);
}

}  // namespace

HeaderTemplate::HeaderTemplate(std::string_view text) {
  static constexpr std::pair<std::string_view, Place> kPlaces[] = {{"{n}", Place::kNumber},
                                                                   {"{run}", Place::kRun},
                                                                   {"{date}", Place::kDate},
                                                                   {"{from}", Place::kFrom},
                                                                   {"{to}", Place::kTo}};
  pieces_.emplace_back();
  while (!text.empty()) {
    bool placed = false;
    for (const auto& [name, place] : kPlaces) {
      if (!text.starts_with(name)) continue;
      pieces_.back().then = place;
      pieces_.emplace_back();
      text.remove_prefix(name.size());
      placed = true;
      break;
    }
    if (placed) continue;
    if (text[0] == '\n') pieces_.back().text += '\r';
    pieces_.back().text += text[0];
    text.remove_prefix(1);
  }
  pieces_.back().text += "\r\n";  // the blank line
}

void HeaderTemplate::render(const HeaderValues& values, std::string& out) const {
  const fmt::format_int number(values.number);
  const std::array<std::string_view, 6> places{
      "", {number.data(), number.size()}, values.run_id, values.date, values.from, values.to};
  for (const Piece& piece : pieces_) {
    out += piece.text;
    out += places[static_cast<std::size_t>(piece.then)];
  }
}

std::vector<Sender> make_senders(std::uint64_t seed, std::size_t count) {
  Random random(seed);
  std::vector<Sender> senders;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view domain = kDomains[i % std::size(kDomains)];  // every one gets its turn
    const auto& [local, name] = pick(random, kPeople);
    std::string text;
    const std::uint64_t hops = 1 + random.below(3);
    for (std::uint64_t hop = 0; hop < hops; ++hop) text += received(random, domain, hop);
    text += fmt::format("From: \"{}\" <{{from}}>\n", name);
    text += "To: <{to}>\n";
    text += fmt::format("Subject: {}\n", pick(random, kSubjects));
    text += "Date: {date}\n";
    text += fmt::format("Message-ID: <{{run}}.{{n}}.{:04x}@{}>\n", random.below(0x10000), domain);
    if (random.below(3) == 0) {
      text += fmt::format("In-Reply-To: <{:016x}@{}>\n", random.next(), pick(random, kDomains));
    }
    if (random.below(3) == 0) text += list_fields(domain);
    text += pick(random, kMailers);
    text += "MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii; format=flowed\n";
    text += "Content-Transfer-Encoding: 7bit\n";
    senders.push_back({fmt::format("{}@{}", local, domain), HeaderTemplate(text)});
  }
  return senders;
}

HeaderTemplate compact_header() {
  return HeaderTemplate("From: <{from}>\nDate: {date}\nMessage-ID: <{run}.{n}@m.example>\n");
}

std::string rfc5322_date(std::int64_t unix_seconds) {
  static constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t time = unix_seconds;
  std::tm utc{};
  gmtime_r(&time, &utc);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000", kDays[utc.tm_wday], utc.tm_mday,
                     kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace mxring::load
