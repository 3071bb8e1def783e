#include "tests/sim/grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tests/sim/signer.h"

namespace mxring::sim {

namespace {

class Author {
 public:
  Author(Dice& dice, const Wishes& wishes) : dice_(dice), wishes_(wishes) {}

  Script write() {
    pipelines_ = dice_.permille(600);
    if (!wishes_.orderly && dice_.permille(150)) stray();
    hello();
    if (dice_.permille(wishes_.starttls ? 600 : 20)) encrypt();
    if (wishes_.guesses) return guess();
    if (!wishes_.orderly && dice_.permille(30)) stand_for();
    if (wishes_.believed && dice_.permille(700)) stand_for();
    const std::uint64_t messages = dice_.below(wishes_.messages_max + 1);
    for (std::uint64_t i = 0; i < messages; ++i) {
      message();
      if (!wishes_.orderly && dice_.permille(150)) hello();
    }
    if (!wishes_.orderly && dice_.permille(300)) stray();
    return finish();
  }

 private:
  Script finish() {
    if (dice_.permille(800)) {
      put({.act = Act::kQuit, .bytes = "QUIT\r\n"});
      break_group();
    }
    break_group();
    return std::move(script_);
  }
  void encrypt() {
    break_group();
    // 502 where it is not offered, 503 where TLS came first.
    const Act act = wishes_.starttls || wishes_.encrypted ? Act::kStartTls : Act::kAuth;
    if (!wishes_.starttls) ++errors_;
    put({.act = act, .bytes = cased("STARTTLS") + "\r\n"});
    break_group();
    if (wishes_.starttls) hello();
    if (wishes_.starttls && !wishes_.orderly && dice_.permille(50)) {
      ++errors_;
      put({.act = act, .bytes = "STARTTLS\r\n"});  // once more
      break_group();
    }
  }
  // Who sends nothing and asks for many.
  Script guess() {
    script_.mails.push_back(compose(0));
    put({.act = Act::kMail,
         .bytes = fmt::format("MAIL FROM:<{}>\r\n", script_.mails[0].from),
         .mail = 0});
    for (std::uint64_t i = dice_.below(40); i > 0; --i) {
      const std::string path = fmt::format("guess{}@users.test", i);
      put({.act = Act::kRcpt, .bytes = fmt::format("RCPT TO:<{}>\r\n", path), .word = path});
    }
    break_group();
    put({.act = Act::kReset, .bytes = "RSET\r\n"});
    return finish();
  }
  // What a proxy says of its client, or a stranger would like to be believed.
  void stand_for() {
    break_group();
    const std::string ip = dice_.permille(700) ? fmt::format("192.0.2.{}", 1 + dice_.below(40))
                                               : fmt::format("2001:db8::{:x}", 1 + dice_.below(40));
    const bool named = dice_.permille(500);
    const std::string name =
        named ? dice_.pick({"bad.client.example", "other.client.example"}) : "";
    const std::string words =
        fmt::format("XCLIENT ADDR={}{} PORT=4711{}{}\r\n", ip.contains(':') ? "IPV6:" : "", ip,
                    dice_.permille(300) ? " NAME=[UNAVAILABLE]" : "",
                    named ? fmt::format(" HELO={}", name) : "");
    if (!wishes_.believed) {
      put({.act = Act::kXclientOther, .bytes = words});
      ++errors_;
      break_group();
      return;
    }
    if (errors_ < 8 && dice_.permille(200)) {
      ++errors_;
      put({.act = Act::kXclientBad,
           .bytes = dice_.pick<std::string>({"XCLIENT ADDR=300.1.1.1\r\n", "XCLIENT COLOUR=red\r\n",
                                             "XCLIENT ADDR=192.0.2.1 ADDR=192.0.2.1\r\n"})});
      break_group();
    }
    put({.act = Act::kXclient, .bytes = words, .word = name, .ip = ip});
    break_group();
    hello();
  }
  void put(Command command) {
    group_.push_back(std::move(command));
    if (!pipelines_) break_group();
  }
  void break_group() {
    if (!group_.empty()) script_.groups.push_back(std::exchange(group_, {}));
  }

  std::string cased(std::string word) {
    if (!dice_.permille(200)) return word;
    for (char& c : word) {
      if (dice_.permille(500)) c = static_cast<char>(c | 0x20);
    }
    return word;
  }

  void hello() {
    extended_ = dice_.permille(850);
    const bool extended = extended_;
    if (!wishes_.orderly && dice_.permille(60)) {
      put({.act = Act::kBadHello, .bytes = extended ? "EHLO\r\n" : "HELO\r\n"});
      ++errors_;
    }
    const std::string name = dice_.permille(150) ? "bad.client.example" : "client.example";
    put({.act = extended ? Act::kEhlo : Act::kHelo,
         .bytes = fmt::format("{} {}\r\n", cased(extended ? "EHLO" : "HELO"), name),
         .word = name});
    break_group();
  }

  // Something between messages that changes nothing.
  void stray() {
    for (std::uint64_t i = dice_.below(4); i > 0; --i) {
      const bool wrong = errors_ < 8 && dice_.permille(400);
      if (!wrong) {
        switch (dice_.below(4)) {
          case 0:
            put({.act = Act::kNoop, .bytes = "NOOP with words\r\n"});
            break;
          case 1:
            put({.act = Act::kVerify, .bytes = "VRFY postmaster\r\n"});
            break;
          case 2:
            put({.act = Act::kHelp, .bytes = "HELP\r\n"});
            break;
          default:
            put({.act = Act::kNoop, .bytes = cased("NOOP") + "\r\n"});
            break;
        }
        continue;
      }
      ++errors_;
      switch (dice_.below(6)) {
        case 0:
          put({.act = Act::kUnknown, .bytes = "XYZZY\r\n"});
          break;
        case 1:
          put({.act = Act::kEmpty, .bytes = "\r\n"});
          break;
        case 2:
          put({.act = Act::kTooLong, .bytes = "NOOP " + std::string(600, 'x') + "\r\n"});
          break;
        case 3:
          put({.act = Act::kVerifyBare, .bytes = "VRFY\r\n"});
          break;
        case 4:
          put({.act = Act::kAuth, .bytes = "AUTH PLAIN AGEAYg==\r\n"});
          break;
        default:
          put({.act = Act::kUnknown, .bytes = "MAILFROM:<a@b>\r\n"});
          break;
      }
    }
  }

  Fate draw_fate() {
    if (wishes_.verdicts && dice_.permille(250)) {
      return dice_.permille(500) ? Fate::kQuarantine : Fate::kReject;
    }
    if (wishes_.orderly || dice_.permille(700)) return Fate::kAccept;
    // Whether a header section names an author is DMARC's question.
    if (wishes_.verdicts && dice_.permille(250)) {
      return dice_.pick({Fate::kNoAuthor, Fate::kNoField});
    }
    return dice_.pick({Fate::kNul, Fate::kBareCr, Fate::kBareLf, Fate::kLongLine, Fate::kTooLarge});
  }

  std::string line() {
    std::string text;
    const std::uint64_t kind = dice_.below(20);
    if (kind == 0) text = ".";
    if (kind == 1) text = "..dots";
    if (kind == 2) text = ".QUIT";
    if (kind == 3) return std::string(900 + dice_.below(300), 'l');
    if (kind == 4) return "MAIL FROM:<smuggled@evil.example>";
    if (kind == 5) return "";
    const std::uint64_t length = dice_.below(76);
    for (std::uint64_t i = 0; i < length; ++i) {
      text += dice_.permille(20) ? static_cast<char>(0x80 + dice_.below(0x80))
                                 : static_cast<char>(0x20 + dice_.below(0x5F));
    }
    return text;
  }

  Mail compose(std::size_t number) {
    Mail mail;
    mail.mark = fmt::format("canary-{}-{}-{}", wishes_.life, wishes_.client, number);
    mail.fate = draw_fate();
    const char* domain = mail.fate == Fate::kReject       ? "reject.example"
                         : mail.fate == Fate::kQuarantine ? "quarantine.example"
                         : dice_.permille(300)            ? "pass.example"
                                                          : "none.example";
    const bool signs = wishes_.verdicts &&
                       (mail.fate == Fate::kAccept || mail.fate == Fate::kReject) &&
                       dice_.permille(250);
    if (signs) domain = dice_.permille(700) ? "signed.example" : "sub.signed.example";
    mail.from = fmt::format("{}@{}", mail.mark, domain);
    std::string& text = mail.content;
    if (mail.fate != Fate::kNoAuthor) text += fmt::format("From: <{}>\r\n", mail.from);
    text += fmt::format("To: <b@mx.test>\r\nSubject: {}\r\nMessage-ID: <{}@none.example>\r\n",
                        mail.mark, mail.mark);
    if (dice_.permille(300))
      text += "Received: from a by b;\r\n Mon, 30 Nov 2026 00:00:00 +0000\r\n";
    if (mail.fate == Fate::kNoField) text += "this is no field\r\n";
    text += "\r\n";
    const std::uint64_t wanted = dice_.permille(50) ? wishes_.message_bytes_max * 9 / 10
                                                    : dice_.skewed(wishes_.body_bytes_max);
    const std::size_t bytes_max = std::min(wanted, wishes_.message_bytes_max * 9 / 10);
    // What is too long and too large is told for the one that comes first: keep them apart.
    const std::size_t room = mail.fate == Fate::kLongLine && wishes_.message_bytes_max > 80'000
                                 ? wishes_.message_bytes_max - 80'000
                                 : bytes_max;
    while (text.size() < std::min(bytes_max, room)) text += line() + "\r\n" + mail.mark + "\r\n";
    spoil(mail);
    if (signs) mail.fate = Signer::sign(dice_, mail.content) ? Fate::kAccept : Fate::kReject;
    return mail;
  }

  void spoil(Mail& mail) {
    std::string& text = mail.content;
    const std::string mark = mail.mark;
    if (mail.fate == Fate::kNul) text += mark + std::string(1, '\0') + "x\r\n";
    if (mail.fate == Fate::kBareCr) text += mark + "\rx\r\n";
    if (mail.fate == Fate::kBareLf) text += mark + "\nx\r\n";
    if (mail.fate == Fate::kLongLine) text += std::string(66'000, 'x') + "\r\n";
    while (mail.fate == Fate::kTooLarge && text.size() <= wishes_.message_bytes_max) {
      text += std::string(900, 'x') + "\r\n";
    }
  }

  void message() {
    const std::size_t number = script_.mails.size();
    script_.mails.push_back(compose(number));
    const Mail& mail = script_.mails.back();
    if (!wishes_.orderly && errors_ < 8 && dice_.permille(150)) bad_mail();
    // Too much is refused at MAIL already when SIZE says so, and that is another act.
    std::string parameters;
    const bool fits = mail.content.size() <= wishes_.message_bytes_max;
    if (extended_ && dice_.permille(200) && fits) {
      parameters = fmt::format(" SIZE={}", mail.content.size());
    }
    put({.act = Act::kMail,
         .bytes = fmt::format("{} FROM:<{}>{}\r\n", cased("MAIL"), mail.from, parameters),
         .mail = number});
    const std::uint64_t recipients = 1 + dice_.skewed(4);
    for (std::uint64_t i = 0; i < recipients; ++i) recipient(number, i);
    if (!wishes_.orderly && dice_.permille(60)) {
      put({.act = Act::kReset, .bytes = "RSET\r\n"});
      return;
    }
    if (!wishes_.orderly && dice_.permille(100)) put({.act = Act::kNoop, .bytes = "NOOP\r\n"});
    if (dice_.permille(300)) {
      chunks(number);
    } else {
      data(number);
    }
    // Where all recipients may have been refused the transaction is still open.
    if (wishes_.policy->active()) put({.act = Act::kReset, .bytes = "RSET\r\n"});
  }

  void bad_mail() {
    ++errors_;
    switch (dice_.below(extended_ ? 4 : 3)) {
      case 0:
        put({.act = Act::kMailBad, .bytes = "MAIL FROM:<a b c>\r\n"});
        break;
      case 1:
        put({.act = Act::kMailNoFrom, .bytes = "MAIL TO:<a@b.example>\r\n"});
        break;
      case 2:
        put({.act = Act::kMailUnknown, .bytes = "MAIL FROM:<a@b.example> X-NO=1\r\n"});
        break;
      default:
        put({.act = Act::kMailTooLarge,
             .bytes = fmt::format("MAIL FROM:<a@b.example> SIZE={}\r\n",
                                  wishes_.message_bytes_max + 1)});
        break;
    }
  }

  void recipient(std::size_t mail, std::uint64_t i) {
    if (!wishes_.orderly && errors_ < 8 && dice_.permille(60)) {
      ++errors_;
      if (dice_.permille(500)) {
        put({.act = Act::kRcptBad, .bytes = "RCPT TO:<@>\r\n"});
      } else {
        put({.act = Act::kRcptNoTo, .bytes = "RCPT FROM:<a@b.example>\r\n"});
      }
    }
    const std::string path = wishes_.policy->draw_recipient(dice_, mail, i);
    put({.act = Act::kRcpt,
         .bytes = fmt::format("{} TO:<{}>\r\n", cased("RCPT"), path),
         .word = path});
  }

  void data(std::size_t number) {
    put({.act = Act::kData, .bytes = cased("DATA") + "\r\n"});
    break_group();
    std::string stuffed;
    bool at_start = true;
    for (const char c : script_.mails[number].content) {
      if (at_start && c == '.') stuffed += '.';
      stuffed += c;
      at_start = c == '\n' && stuffed.size() > 1 && stuffed[stuffed.size() - 2] == '\r';
    }
    group_.push_back({.act = Act::kContent, .bytes = stuffed + ".\r\n", .mail = number});
    // What comes next may go along with it.
    if (!pipelines_ || dice_.permille(500)) break_group();
  }

  void chunks(std::size_t number) {
    std::string_view rest = script_.mails[number].content;
    const std::uint64_t count = dice_.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string_view piece = rest.substr(0, dice_.below(rest.size() + 1));
      rest.remove_prefix(piece.size());
      put({.act = Act::kChunk,
           .bytes = fmt::format("BDAT {}\r\n", piece.size()).append(piece),
           .mail = number});
    }
    put({.act = Act::kLastChunk,
         .bytes = fmt::format("BDAT {} LAST\r\n", rest.size()).append(rest),
         .mail = number});
  }

  Dice& dice_;
  const Wishes& wishes_;
  Script script_;
  std::vector<Command> group_;
  bool pipelines_ = false;
  bool extended_ = false;  // EHLO, not HELO
  std::uint32_t errors_ = 0;
};

}  // namespace

Script make_script(Dice& dice, const Wishes& wishes) {
  return Author(dice, wishes).write();
}

}  // namespace mxring::sim
