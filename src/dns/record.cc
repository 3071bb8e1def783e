#include "dns/record.h"

#include <array>
#include <utility>

namespace mxring::dns {

namespace {

constexpr std::array<std::pair<Status, std::string_view>, 5> kWords{{
    {Status::kAnswer, "answer"},
    {Status::kNoData, "no-data"},
    {Status::kNoName, "no-such-name"},
    {Status::kServerFailure, "server-failure"},
    {Status::kTimeout, "timeout"},
}};

}  // namespace

std::string_view status_word(Status status) {
  for (const auto& [known, word] : kWords) {
    if (known == status) return word;
  }
  return "server-failure";
}

bool status_from_word(std::string_view word, Status& status) {
  for (const auto& [known, text] : kWords) {
    if (text != word) continue;
    status = known;
    return true;
  }
  return false;
}

std::size_t Answer::bytes() const {
  std::size_t sum = sizeof *this + addresses.capacity() * sizeof(base::IpAddress) +
                    texts.capacity() * sizeof(std::string) +
                    (names.capacity() + aliases.capacity()) * sizeof(Name) +
                    exchangers.capacity() * sizeof(Exchanger);
  for (const std::string& text : texts) sum += text.capacity();
  return sum + (parsed_ ? parsed_->bytes() : 0);
}

std::shared_ptr<const ParsedForm> Answer::parsed(const void* tag) const {
  return parsed_ && parsed_->tag() == tag ? parsed_ : nullptr;
}

void Answer::set_parsed(std::shared_ptr<const ParsedForm> form) const {
  if (parsed_) return;  // the first user keeps the slot
  parsed_ = std::move(form);
  if (listener_ != nullptr && parsed_) listener_->answer_grew(parsed_->bytes());
}

AnswerPtr make_failure(Status status) {
  auto answer = std::make_shared<Answer>();
  answer->status = status;
  return answer;
}

}  // namespace mxring::dns
