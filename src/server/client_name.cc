#include "server/client_name.h"

#include <algorithm>

#include "base/probe.h"

namespace mxring::server {

void ClientName::begin(const base::IpAddress& address, base::MonoTime now, bool claimed) {
  stop();
  address_ = address;
  account_ = client_.account(address, claimed);
  const dns::Question question{dns::Name::reverse(address), dns::Type::kPtr};
  if (const dns::AnswerPtr answer = client_.ask(question, *this, now, asker())) take(answer, now);
}

void ClientName::stop() {
  cancel();
  name_.clear();
  names_.clear();
  have_names_ = false;
  at_ = 0;
}

void ClientName::on_answer(const dns::Question&, const dns::AnswerPtr& answer) {
  take(answer, base::read_clocks().mono);
}

void ClientName::take(const dns::AnswerPtr& answer, base::MonoTime now) {
  if (!have_names_) {
    have_names_ = true;
    for (const dns::Name& name : answer->names) {
      if (names_.size() < kNamesMax && name.is_host_name()) names_.push_back(name);
    }
  } else if (std::ranges::find(answer->addresses, address_) != answer->addresses.end()) {
    MXRING_PROBE("client name: confirmed");
    name_ = names_[at_].to_text();
    return;
  } else {
    MXRING_PROBE("client name: it leads elsewhere");
    ++at_;
  }
  confirm(now);
}

void ClientName::confirm(base::MonoTime now) {
  if (at_ >= names_.size()) return;
  const dns::Type type = address_.is_v4() ? dns::Type::kA : dns::Type::kAaaa;
  const dns::AnswerPtr answer = client_.ask({names_[at_], type}, *this, now, asker());
  // At most kNamesMax deep: every call moves on by one name.
  if (answer != nullptr) take(answer, now);
}

}  // namespace mxring::server
