// The client's side of SMTP (RFC 5321 3, RFC 2920): what is said after each reply.
#include <fmt/format.h>

#include <string_view>

#include "base/assert.h"
#include "base/text.h"
#include "load/worker.h"

namespace mxring::load {

using smtp::ReplyParser;
using uring::Operation;

namespace {

constexpr int kServiceReady = 220;
constexpr int kStartInput = 354;
constexpr int kClosingChannel = 421;

bool is_success(int code) {
  return code / 100 == 2;
}
bool is_refusal(int code) {
  return code / 100 == 4 || code / 100 == 5;
}

// Does an EHLO line offer this extension?
bool offers(std::string_view line, std::string_view keyword) {
  return base::ascii_iequals(line.substr(0, line.find(' ')), keyword);
}

}  // namespace

void Worker::on_bytes(Client& client, std::string_view bytes) {
  const std::uint32_t generation = client.generation;
  while (!bytes.empty()) {
    switch (client.parser.next(bytes)) {
      case ReplyParser::Result::kNeedMore:
        return;
      case ReplyParser::Result::kMalformed:
        return fail(client, Loss::kNonsense);
      case ReplyParser::Result::kLine:
        on_line(client, client.parser.text());
        break;
      case ReplyParser::Result::kReply:
        on_line(client, client.parser.text());
        on_reply(client);
        if (client.generation != generation || client.fd < 0 || client.at == At::kClosing) return;
        break;
    }
  }
}

void Worker::on_line(Client& client, std::string_view text) {
  if (client.at != At::kHello) return;
  client.offers_pipelining |= offers(text, "PIPELINING");
  client.offers_chunking |= offers(text, "CHUNKING");
  client.offers_size |= offers(text, "SIZE");
  client.offers_8bit |= offers(text, "8BITMIME");
  client.offers_starttls |= offers(text, "STARTTLS");
}

void Worker::on_reply(Client& client) {
  const int code = client.parser.code();
  failing_since_ns_ = 0;
  // A server may go at any time (RFC 5321 3.8), also while a command is on its way to it.
  if (code == kClosingChannel && client.at != At::kQuit) return refuse_session(client, code);
  // With BDAT the replies to what stood before it may come while the message is on its way.
  const bool early = client.sending && client.at != At::kContent && !options_.chunking;
  if (early) return fail(client, Loss::kNonsense);
  switch (client.at) {
    case At::kBanner:
    case At::kHello:
    case At::kOldHello:
    case At::kStartTls:
      return on_session_reply(client, code);
    case At::kMail:
    case At::kRecipient:
      return on_transaction_reply(client, code);
    case At::kData:
      return on_data_reply(client, code);
    case At::kContent:
      return on_content_reply(client, code);
    case At::kDiscard:
      return give_up_transaction(client, false);
    case At::kReset:
      return settle(client);
    case At::kIdle:
    case At::kSettling:
    case At::kQuit:
      return drop(client);  // after QUIT as it should be, else unasked: not to be trusted
    default:
      return fail(client, Loss::kNonsense);
  }
}

void Worker::on_session_reply(Client& client, int code) {
  if (client.at == At::kBanner) {
    if (code != kServiceReady) return refuse_session(client, code);
    client.at = At::kHello;
    return say_hello(client);
  }
  if (client.at == At::kStartTls && code == kServiceReady) return begin_tls(client);
  if (client.at == At::kHello && code / 100 == 5) {
    client.at = At::kOldHello;
    client.offers_pipelining = client.offers_size = client.offers_8bit = false;
    return say(client, fmt::format("HELO {}\r\n", options_.helo));
  }
  if (!is_success(code)) return refuse_session(client, code);
  if (options_.tls == Tls::kStartTls && client.tls == nullptr) {
    if (!client.offers_starttls) {
      note_failure("the server does not offer STARTTLS");
      return fail(client, Loss::kTls);
    }
    client.at = At::kStartTls;
    return say(client, "STARTTLS\r\n");
  }
  if (options_.chunking && !client.offers_chunking) {
    note_failure("the server does not offer CHUNKING");
    return fail(client, Loss::kNonsense);
  }
  ++tally_.connections;
  if (options_.pipelining && !client.offers_pipelining) lacked_pipelining_ = true;
  settle(client);
}

void Worker::say_hello(Client& client) {
  say(client, fmt::format("EHLO {}\r\n", options_.helo));
}

// The server will not talk to us, or not any longer; the message in hand is refused with its reply.
void Worker::refuse_session(Client& client, int code) {
  note_failure(fmt::format("the server refused the session: {} {}", code,
                           base::escaped(client.parser.text())));
  if (client.has_message) reject(client, code, client.parser.text());
  if (client.messages_here == 0) ++client.failures;
  drop(client);
}

void Worker::begin(Client& client) {
  const std::int64_t second = now_.wall.us / 1'000'000;
  if (second != date_second_) {
    date_second_ = second;
    date_ = rfc5322_date(second);
  }
  MXRING_ASSERT(client.has_message && !client.sending);
  source_.compose(client.number, date_, client.message);
  client.refused_code = 0;
  client.recipients_taken = 0;
  client.recipients_left = static_cast<std::uint32_t>(options_.content.rcpt_to.size());
  client.pipelined = options_.pipelining && client.offers_pipelining;
  client.at = At::kMail;
  client.command.clear();
  add_mail(client);
  if (client.pipelined) {
    for (std::size_t i = 0; i < options_.content.rcpt_to.size(); ++i) add_recipient(client, i);
    if (options_.chunking) return send_chunk(client);
    client.command += "DATA\r\n";
  }
  flush(client);
}

void Worker::add_mail(Client& client) {
  client.command += "MAIL FROM:<";
  client.command += client.message.from;
  client.command += '>';
  if (client.offers_size) {
    const fmt::format_int size(client.message.content_bytes);
    client.command += " SIZE=";
    client.command.append(size.data(), size.size());
  }
  if (client.message.eight_bit && client.offers_8bit) client.command += " BODY=8BITMIME";
  client.command += "\r\n";
}

void Worker::add_recipient(Client& client, std::size_t which) {
  client.command += "RCPT TO:<";
  MXRING_ASSERT(which < options_.content.rcpt_to.size());
  options_.content.rcpt_to[which].append(client.command, client.number);
  client.command += ">\r\n";
}

// With pipelining the next reply belongs to a command that is on its way already.
void Worker::on_transaction_reply(Client& client, int code) {
  if (!is_success(code) && !is_refusal(code)) return fail(client, Loss::kNonsense);
  if (is_refusal(code) && client.refused_code == 0) {
    client.refused_code = code;
    client.refused_text = client.parser.text();
  }
  if (client.at == At::kMail) {
    if (!is_success(code) && !client.pipelined) return give_up_transaction(client, false);
    client.mail_taken = is_success(code);
    client.at = At::kRecipient;
  } else {
    if (is_success(code)) ++client.recipients_taken;
    // After a refused MAIL the server only says that it comes first.
    if (client.mail_taken) {
      ++tally_.recipients;
      if (is_refusal(code)) count_refusal(tally_.recipient_codes, code, client.parser.text());
    }
    MXRING_ASSERT(client.recipients_left > 0);
    --client.recipients_left;
  }
  if (client.recipients_left == 0) client.at = options_.chunking ? At::kContent : At::kData;
  if (client.pipelined) return;
  if (client.recipients_left == 0 && client.recipients_taken == 0) {
    return give_up_transaction(client, true);
  }
  client.command.clear();
  if (client.recipients_left > 0) {
    add_recipient(client, options_.content.rcpt_to.size() - client.recipients_left);
  } else if (options_.chunking) {
    return send_chunk(client);
  } else {
    client.command += "DATA\r\n";
  }
  flush(client);
}

void Worker::on_data_reply(Client& client, int code) {
  if (code == kStartInput) {
    if (client.recipients_taken > 0) return send_content(client);
    // RFC 2920 3.1: DATA may be accepted although every recipient was refused.
    client.at = At::kDiscard;
    return say(client, ".\r\n");
  }
  if (!is_refusal(code)) return fail(client, Loss::kNonsense);
  if (client.recipients_taken > 0 || client.refused_code == 0) {
    client.refused_code = code;
    client.refused_text = client.parser.text();
  }
  give_up_transaction(client, true);
}

void Worker::on_content_reply(Client& client, int code) {
  if (is_success(code)) {
    MXRING_ASSERT(client.has_message && client.planned <= now_.mono);
    tally_.accept(now_.mono - client.planned, client.message.content_bytes);
    if (options_.keep_acknowledged) {
      const std::string_view text = client.parser.text();
      tally_.acknowledged += text.substr(text.rfind(' ') + 1);
      tally_.acknowledged += '\n';
    }
    decided(client);
  } else if (is_refusal(code) && options_.chunking && client.recipients_taken == 0) {
    return give_up_transaction(client, true);  // refused with its recipients
  } else if (is_refusal(code)) {
    reject(client, code, client.parser.text());
  } else {
    return fail(client, Loss::kNonsense);
  }
  ++client.messages_here;
  client.failures = 0;
  settle(client);
}

// The message was refused before its content was sent.
void Worker::give_up_transaction(Client& client, bool reset) {
  MXRING_ASSERT(client.refused_code >= 400);
  MXRING_ASSERT(client.has_message);
  reject(client, client.refused_code, client.refused_text);
  ++client.messages_here;
  client.failures = 0;
  if (!reset) return settle(client);
  client.at = At::kReset;
  say(client, "RSET\r\n");
}

// The connection is ready for what comes next: a message, a rest, or its end.
void Worker::settle(Client& client) {
  if (client.sending) {
    client.at = At::kSettling;
    return set_timer(client, options_.reply_timeout_ns);
  }
  if (client.opening) {
    MXRING_ASSERT(opening_ > 0);
    client.opening = false;
    --opening_;
  }
  if (client.has_message) return begin(client);
  const std::uint32_t limit = options_.messages_per_connection;
  const bool used_up = limit != 0 && client.messages_here >= limit;
  if (phase_ == Phase::kEnding || (used_up && plan_open())) return say_goodbye(client);
  if (phase_ == Phase::kRunning && !options_.rate && take_message(client)) return begin(client);
  client.at = At::kIdle;
  MXRING_ASSERT(!client.has_message && !client.sending);
  timers_->cancel(client.timer);
  idle_.push_back(client);
}

void Worker::say(Client& client, std::string_view line) {
  client.command = line;
  flush(client);
}

void Worker::flush(Client& client) {
  if (client.tls != nullptr) return encrypt(client, client.command);
  MXRING_ASSERT(client.fd >= 0 && !client.command.empty());
  ring_->send(client.fd, client.command.data(), static_cast<std::uint32_t>(client.command.size()),
              client.tag(Operation::kSend));
  client.sending = true;
  set_timer(client, options_.reply_timeout_ns);
}

void Worker::say_goodbye(Client& client) {
  MXRING_ASSERT(!client.has_message);
  client.at = At::kQuit;
  say(client, "QUIT\r\n");
}

void Worker::send_content(Client& client) {
  MXRING_ASSERT(client.fd >= 0 && client.recipients_taken > 0);
  client.at = At::kContent;
  if (client.tls != nullptr) return encrypt_content(client);
  ring_->send_vector(client.fd, &client.message.message, client.tag(Operation::kSend));
  client.sending = true;
  set_timer(client, options_.reply_timeout_ns);
}

// All of the message is one chunk, in one piece with the commands before it.
void Worker::send_chunk(Client& client) {
  OutgoingMessage& message = client.message;
  client.command += fmt::format("BDAT {} LAST\r\n", message.wire_bytes);
  MXRING_ASSERT(!message.pieces.empty());
  message.pieces.insert(message.pieces.begin(), {client.command.data(), client.command.size()});
  message.message.msg_iov = message.pieces.data();
  message.message.msg_iovlen = message.pieces.size();
  if (client.tls != nullptr) return encrypt_content(client);
  ring_->send_vector(client.fd, &message.message, client.tag(Operation::kSend));
  client.sending = true;
  set_timer(client, options_.reply_timeout_ns);
}

// A send that failed changes nothing here: the server's last reply may still be on its way, and the
// receive will tell how the connection ended.
void Worker::on_sent(Client& client, int result) {
  if (client.tls != nullptr && client.at != At::kClosing && result >= 0) {
    send_encrypted(client);
    if (client.sending) return;
  }
  switch (client.at) {
    case At::kClosing:
      return finish_closing(client);
    case At::kSettling:
      return result < 0 ? drop(client) : settle(client);
    case At::kContent:
      return set_timer(client, options_.reply_timeout_ns);
    default:
      return;
  }
}

}  // namespace mxring::load
