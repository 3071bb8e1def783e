#include "smtp/reply.h"

#include "base/assert.h"

namespace mxring::smtp {

namespace {

struct Labels {
  std::array<std::string_view, kReplies.size()> names{};
  std::array<std::uint8_t, kReplies.size()> of_reply{};
  std::size_t count = 0;
};

constexpr Labels make_labels() {
  Labels labels;
  for (const ReplyRow& reply_row : kReplies) {
    const Reply reply(reply_row.id);
    if (!reply.is_refusal()) continue;
    std::size_t at = 0;
    while (at < labels.count && labels.names[at] != reply.codes()) ++at;
    if (at == labels.count) labels.names[labels.count++] = reply.codes();
    labels.of_reply[static_cast<std::size_t>(reply_row.id)] = static_cast<std::uint8_t>(at);
  }
  return labels;
}

constexpr Labels kLabels = make_labels();
static_assert(kLabels.count > 0);

}  // namespace

std::string to_text(const Reply& reply) {
  std::string text(reply.codes());
  text += ' ';
  text += reply.text();
  return text;
}

std::string_view word(Stage stage) {
  switch (stage) {
    case Stage::kConnect:
      return "connect";
    case Stage::kHello:
      return "hello";
    case Stage::kStartTls:
      return "starttls";
    case Stage::kMail:
      return "mail";
    case Stage::kRecipient:
      return "rcpt";
    case Stage::kData:
      return "data";
    case Stage::kMessage:
      return "message";
    case Stage::kCommand:
      break;
  }
  return "command";
}

std::span<const std::string_view> refusal_labels() {
  return std::span(kLabels.names).first(kLabels.count);
}

std::size_t refusal_label(const Reply& refusal) {
  MXRING_ASSERT(refusal.is_refusal());
  return kLabels.of_reply[static_cast<std::size_t>(refusal.id())];
}

}  // namespace mxring::smtp
