// What the client says to each reply, whole and byte by byte.
#include "report/client_dialogue.h"

#include <gtest/gtest.h>

namespace mxring::report {
namespace {

struct Play {
  std::vector<Letter> letters;
  std::string said;
  std::string problem;
  bool over = false;
};

// Plays the server's lines against a client with `count` letters. Each line is handed over in
// pieces of `piece` bytes; "TLS" stands for a handshake that is done.
Play play(const std::vector<std::string>& lines, std::size_t count = 1, TlsUse tls = TlsUse::kNever,
          std::size_t piece = 1000) {
  Play result;
  for (std::size_t i = 0; i < count; ++i) {
    Letter& letter = result.letters.emplace_back();
    letter.mail_from = "from@mx.example";
    letter.rcpt_to = "to" + std::to_string(i) + "@example.org";
    letter.content = "Subject: x\r\n\r\n.dot\r\n";
  }
  std::vector<Letter*> pointers;
  for (Letter& letter : result.letters) pointers.push_back(&letter);
  ClientDialogue dialogue("me.example", tls, pointers);
  for (const std::string& line : lines) {
    if (line == "TLS") {
      EXPECT_TRUE(dialogue.wants_tls());
      dialogue.tls_done("TLSv1.3 X");
    } else {
      const std::string bytes = line + "\r\n";
      for (std::size_t at = 0; at < bytes.size(); at += piece) {
        dialogue.receive(std::string_view(bytes).substr(at, piece));
      }
    }
    result.said += dialogue.take_output();
  }
  result.problem = dialogue.problem();
  result.over = dialogue.over();
  return result;
}

const std::vector<std::string> kUsual{
    "220 hello", "250-mx\r\n250 SIZE 1000", "250 ok", "250 ok", "354 go ahead", "250 taken 7",
    "221 bye"};
constexpr std::string_view kContent = "Subject: x\r\n\r\n..dot\r\n.\r\n";

std::vector<std::string> usual_but(std::size_t from, std::vector<std::string> rest) {
  std::vector<std::string> lines(kUsual.begin(), kUsual.begin() + static_cast<long>(from));
  lines.insert(lines.end(), rest.begin(), rest.end());
  return lines;
}

TEST(ClientDialogueTest, OneLetter) {
  for (const std::size_t piece : {1U, 2U, 1000U}) {
    const Play done = play(kUsual, 1, TlsUse::kNever, piece);
    EXPECT_EQ(done.said,
              "EHLO me.example\r\nMAIL FROM:<from@mx.example> SIZE=20\r\n"
              "RCPT TO:<to0@example.org>\r\nDATA\r\n" +
                  std::string(kContent) + "QUIT\r\n");
    EXPECT_TRUE(done.over);
    EXPECT_EQ(done.problem, "");
    EXPECT_EQ(done.letters[0].fate, Fate::kAccepted);
    EXPECT_EQ(done.letters[0].code, 250);
    EXPECT_EQ(done.letters[0].reply, "taken 7");
    EXPECT_EQ(done.letters[0].tls, "");
  }
}

TEST(ClientDialogueTest, SeveralLettersOneSession) {
  const Play done =
      play({"220 x", "250 x", "250 x", "550 no such user", "250 reset", "250 x", "250 x", "354 x",
            "452 full", "250 x", "250 x", "354 x", "250 good", "221 x"},
           3);
  EXPECT_EQ(done.letters[0].fate, Fate::kRefused);
  EXPECT_EQ(done.letters[0].reply, "no such user");
  EXPECT_EQ(done.letters[1].fate, Fate::kPutOff);
  EXPECT_EQ(done.letters[1].code, 452);
  EXPECT_EQ(done.letters[2].fate, Fate::kAccepted);
  EXPECT_NE(done.said.find("RSET\r\nMAIL FROM"), std::string::npos);
  EXPECT_EQ(done.said.find("SIZE="), std::string::npos);  // it was not offered
}

TEST(ClientDialogueTest, RefusalsAtEveryStep) {
  // After MAIL there is nothing to reset.
  EXPECT_TRUE(play(usual_but(2, {"550 no", "221 x"})).said.ends_with("SIZE=20\r\nQUIT\r\n"));
  for (std::size_t step = 2; step <= 5; ++step) {
    for (const auto& [code, fate] :
         {std::pair("451 later", Fate::kPutOff), std::pair("554 never", Fate::kRefused)}) {
      const Play done = play(usual_but(step, {code}));
      EXPECT_EQ(done.letters[0].fate, fate) << step << code;
      EXPECT_FALSE(done.over);
    }
  }
}

TEST(ClientDialogueTest, SessionsThatDoNotComeAbout) {
  const auto problem = [](const std::vector<std::string>& lines, TlsUse tls = TlsUse::kNever) {
    const Play done = play(lines, 1, tls);
    EXPECT_TRUE(done.over);
    EXPECT_EQ(done.letters[0].fate, Fate::kUndecided);
    return done.problem;
  };
  EXPECT_EQ(problem({"554 not you"}), "not you");
  EXPECT_EQ(problem({"220 x", "421 busy"}), "busy");
  EXPECT_EQ(problem({"220 x", "550 what", "550 what again"}), "what again");
  EXPECT_EQ(problem(usual_but(3, {"421 shutting down"})), "shutting down");
  EXPECT_EQ(problem(usual_but(2, {"530 STARTTLS first"})), "STARTTLS first");
  EXPECT_EQ(problem({"SSH-2.0-OpenSSH"}), "something that is no SMTP reply");
  EXPECT_EQ(problem(usual_but(4, {"250 no 354"})), "a reply that does not belong there");
  EXPECT_EQ(problem({"220 x", "250 no extensions"}, TlsUse::kRequired),
            "the server does not offer STARTTLS");
  EXPECT_EQ(problem({"220 x", "250-x\r\n250 STARTTLS", "454 not now"}, TlsUse::kRequired),
            "not now");
  EXPECT_EQ(problem({"220 x", "250-x\r\n250 STARTTLS", "220 go\r\n250 injected"}, TlsUse::kOffered),
            "bytes in the clear behind the reply to STARTTLS");
}

TEST(ClientDialogueTest, OldServersAreGreetedWithHelo) {
  const Play done = play({"220 x", "500 what", "250 x"});
  EXPECT_TRUE(done.said.starts_with("EHLO me.example\r\nHELO me.example\r\nMAIL FROM"));
}

TEST(ClientDialogueTest, TlsWhenOffered) {
  Play done = play({"220 x", "250-x\r\n250-SIZE 5\r\n250 STARTTLS", "220 go", "TLS", "250 x",
                    "250 x", "250 x", "354 x", "250 x", "221 x"},
                   1, TlsUse::kOffered);
  EXPECT_EQ(done.letters[0].fate, Fate::kAccepted);  // the SIZE in the clear is forgotten
  EXPECT_EQ(done.letters[0].tls, "TLSv1.3 X");
  EXPECT_TRUE(done.said.starts_with("EHLO me.example\r\nSTARTTLS\r\nEHLO me.example\r\nMAIL"));
  // Offered, but not wanted; wanted, but not done.
  EXPECT_EQ(play({"220 x", "250 STARTTLS"}).said.find("STARTTLS"), std::string::npos);
  done = play({"220 x", "250 STARTTLS", "454 not now"}, 1, TlsUse::kOffered);
  EXPECT_TRUE(done.said.ends_with("STARTTLS\r\nMAIL FROM:<from@mx.example>\r\n"));
}

TEST(ClientDialogueTest, LettersOverTheServersLimitAreNotTried) {
  const Play done = play({"220 x", "250 SIZE 19"}, 2);
  EXPECT_EQ(done.letters[0].fate, Fate::kTooLarge);
  EXPECT_EQ(done.letters[1].fate, Fate::kTooLarge);
  EXPECT_EQ(done.letters[1].reply, "20 bytes, and the server takes 19");
  EXPECT_EQ(done.said, "EHLO me.example\r\nQUIT\r\n");
}

TEST(ClientDialogueTest, DotsAreStuffed) {
  EXPECT_EQ(stuffed(""), ".\r\n");
  EXPECT_EQ(stuffed("."), "..\r\n.\r\n");
  EXPECT_EQ(stuffed("a.\r\n.b\r\n..\r\n"), "a.\r\n..b\r\n...\r\n.\r\n");
}

}  // namespace
}  // namespace mxring::report
