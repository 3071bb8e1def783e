// Tag lists, signature fields and key records.
#include <gtest/gtest.h>

#include "mailauth/dkim/key_record.h"
#include "mailauth/dkim/signature.h"
#include "mailauth/dkim/tag_list.h"

namespace mxring::mailauth::dkim {
namespace {

std::string tags_of(std::string_view text) {
  std::vector<Tag> tags;
  if (const auto error = parse_tag_list(text, tags)) return "error";
  std::string out;
  for (const Tag& tag : tags) {
    out += std::string(tag.name) + "=[" + std::string(tag.value) + "]";
  }
  return out;
}

TEST(DkimTagListTest, Lists) {
  EXPECT_EQ(tags_of("v=1"), "v=[1]");
  EXPECT_EQ(tags_of("v=1;"), "v=[1]");
  EXPECT_EQ(tags_of("x-y=1; v=1"), "x-y=[1]v=[1]");
  EXPECT_EQ(tags_of("v=1; \r\n\t"), "v=[1]");
  EXPECT_EQ(tags_of(" a =\r\n b c ; d_1=;E=x=y=="), "a=[b c]d_1=[]E=[x=y==]");
  EXPECT_EQ(tags_of("a=1; A=2"), "a=[1]A=[2]");
  EXPECT_EQ(tags_of("n=\xC3\xA4\xFF"), "n=[\xC3\xA4\xFF]");
  for (const char* wrong : {"", " ", ";", "a", "a=1;;b=2", "a=1; b", "=1", "1a=1", "-b=1", "a b=1",
                            "a=1;a=2", "a=\x01", "a=\x7F", "a=1; ;"}) {
    EXPECT_EQ(tags_of(wrong), "error") << wrong;
  }
  std::string many;
  for (int i = 0; i < 65; ++i) many += "a" + std::to_string(i) + "=1;";
  EXPECT_EQ(tags_of(many), "error");
  EXPECT_NE(tags_of(many.substr(0, many.rfind("a64"))), "error");
}

TEST(DkimTagListTest, ColonLists) {
  EXPECT_TRUE(list_contains("sha1 : SHA256", "sha256"));
  EXPECT_TRUE(list_contains("*", "*"));
  EXPECT_FALSE(list_contains("sha2567", "sha256"));
  EXPECT_FALSE(list_contains("", "y"));
}

constexpr std::string_view kGood =
    "v=1; a=rsa-sha256; d=Example.ORG; s=Sel; h=From:To; "
    "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA";

struct Read {
  std::optional<Problem> problem;
  Signature signature;
  std::string bytes;
  SignatureParser parser;
};

// kGood with a tag replaced or, with an empty text, taken out; or added.
std::string with(std::string_view name, std::string_view text) {
  std::string out;
  std::vector<Tag> tags;
  EXPECT_FALSE(parse_tag_list(kGood, tags));
  bool found = false;
  for (const Tag& tag : tags) {
    if (tag.name != name) {
      out += std::string(tag.name) + "=" + std::string(tag.value) + ";";
    } else if (found = true; !text.empty()) {
      out += std::string(text) + ";";
    }
  }
  return found ? out : out + std::string(text);
}

// "ok", or the result's word.
std::string outcome(const std::string& text) {
  Read read;
  read.problem = read.parser.parse(text, read.signature, read.bytes);
  return read.problem ? std::string(word(read.problem->result)) : "ok";
}

TEST(DkimSignatureTest, WhatItSays) {
  Read read;
  const std::string text = with("l", "l=17; t=5; x=9; i=a=40b@Sub.example.org; c=relaxed/simple");
  read.problem = read.parser.parse(text, read.signature, read.bytes);
  ASSERT_FALSE(read.problem) << read.problem->what;
  EXPECT_EQ(read.signature.domain.to_text(), "example.org");
  EXPECT_EQ(read.signature.selector.to_text(), "sel");
  EXPECT_EQ(read.signature.body_bytes, 17U);
  EXPECT_EQ(read.signature.signed_at, 5U);
  EXPECT_EQ(read.signature.expires_at, 9U);
  EXPECT_TRUE(read.signature.identity_below);
  EXPECT_EQ(read.signature.header, Canonicalization::kRelaxed);
  EXPECT_EQ(read.signature.body, Canonicalization::kSimple);
  EXPECT_EQ(read.bytes, std::string_view("\0\0\0", 3));
  EXPECT_EQ(read.signature.body_hash[0], 0xE3);
}

TEST(DkimSignatureTest, WhatIsMissingOrWrong) {
  EXPECT_EQ(outcome(std::string(kGood)), "ok");
  for (const char* name : {"v", "a", "d", "s", "h", "bh", "b"}) {
    EXPECT_EQ(outcome(with(name, "")), "neutral") << name;
  }
  for (const char* wrong : {"v=2",
                            "v=1.0",
                            "a=rsa-sha512",
                            "a=",
                            "c=nosuch",
                            "c=simple/",
                            "c=relaxed/relaxed/simple",
                            "d=",
                            "d=org",
                            "d=example..org",
                            "d=exa mple.org",
                            "d=.example.org",
                            "d=example.org.",
                            "s=",
                            "s=a..b",
                            "h=Fr om",
                            "bh=",
                            "bh=AAAA",
                            "bh=!",
                            "b=",
                            "b=!",
                            "b=AAAAA",
                            "l=",
                            "l=-1",
                            "l=1x",
                            "t=x",
                            "x=y",
                            "t=9; x=9",
                            "t=9; x=8",
                            "q=",
                            "q=http",
                            "i=example.org",
                            "i=@example.com",
                            "i=@notexample.org",
                            "i=",
                            "i=a@"}) {
    EXPECT_EQ(
        outcome(with(std::string_view(wrong).substr(0, std::string_view(wrong).find('=')), wrong)),
        "neutral")
        << wrong;
  }
  for (const char* fine :
       {"a=RSA-SHA256", "a=ed25519-sha256", "c=relaxed", "c=Simple/Relaxed", "l=0",
        "l=99999999999999999999999999", "q=x:dns/txt", "q=DNS/TXT", "i=@example.org", "z=From:a|b",
        "h= From : to ", "b=AA AA\r\n\t", "unknown=x", "t=8; x=9", "s=a.b", "s=a_b"}) {
    EXPECT_EQ(
        outcome(with(std::string_view(fine).substr(0, std::string_view(fine).find('=')), fine)),
        "ok")
        << fine;
  }
  EXPECT_EQ(outcome(with("h", "h=To:Subject")), "permerror");
  // Empty names stand for nothing.
  for (const char* names : {"h=", "h=:", "h=: :To"}) {
    EXPECT_EQ(outcome(with("h", names)), "permerror") << names;
  }
  for (const char* names : {"h=From:", "h=:From", "h=From::To:", "h= : From : "}) {
    EXPECT_EQ(outcome(with("h", names)), "ok") << names;
  }
}

TEST(DkimSignatureTest, UnicodeDomainsBecomeALabels) {
  Read read;
  const std::string text = with("d", "d=K\xC3\xB6ln.example; i=\xC3\xA4@k\xC3\xB6ln.example");
  read.problem = read.parser.parse(text, read.signature, read.bytes);
  ASSERT_FALSE(read.problem) << read.problem->what;
  EXPECT_EQ(read.signature.domain.to_text(), "xn--kln-sna.example");
  EXPECT_FALSE(read.signature.identity_below);
  EXPECT_EQ(key_name(read.signature.selector, read.signature.domain)->to_text(),
            "sel._domainkey.xn--kln-sna.example");
  // The other spelling of the same domain in i=.
  const std::string mixed = with("d", "d=xn--kln-sna.example; i=@k\xC3\xB6ln.example");
  EXPECT_FALSE(read.parser.parse(mixed, read.signature, read.bytes));
}

TEST(DkimSignatureTest, QuotedPrintable) {
  std::string out;
  decode_quoted("a=20b =3D\r\n\tc=3d=4", out);
  EXPECT_EQ(out, "a b=c=3d=4");
}

// An RSA key of 1024 bits, from RFC 6376's example.
constexpr const char* kRsa =
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/"
    "zYtIxN2SnFCjxOCKG9"
    "v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcW"
    "ToIMmPSPDdQPNUYckcQ2QIDAQAB";
constexpr const char* kEd25519 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

// "rsa 1024", "ed25519 256" with flags; or the problem.
std::string key_of(const std::string& text) {
  const auto key = parse_key_record(text);
  if (!key) return std::string(word(key.error().result)) + ": " + std::string(key.error().what);
  std::string out = key->type == crypto::KeyType::kRsa ? "rsa" : "ed25519";
  out += " " + std::to_string(key->bits());
  if (!key->sha256) out += " no-sha256";
  if (!key->email) out += " no-email";
  if (key->testing) out += " testing";
  if (key->strict) out += " strict";
  return out;
}

TEST(DkimKeyRecordTest, Records) {
  const std::string p = std::string("p=") + kRsa;
  EXPECT_EQ(key_of(p), "rsa 1024");
  EXPECT_EQ(key_of("v=DKIM1;" + p), "rsa 1024");
  EXPECT_EQ(key_of("v=DKIM1; k=RSA; g=*; n=note; h=sha1:sha256; s=*; t=y : s; " + p + " ;"),
            "rsa 1024 testing strict");
  EXPECT_EQ(key_of("h=sha1; s=other; " + p), "rsa 1024 no-sha256 no-email");
  EXPECT_EQ(key_of("s=email:x; t=unknown; " + p), "rsa 1024");
  EXPECT_EQ(key_of(std::string("v=DKIM1; k=ed25519; p=") + kEd25519), "ed25519 256");
  // White space inside p=, as split strings leave it.
  EXPECT_EQ(key_of("p=" + std::string(kRsa).insert(20, " ")), "rsa 1024");
}

TEST(DkimKeyRecordTest, NoKeys) {
  const std::string p = std::string("p=") + kRsa;
  EXPECT_EQ(key_of("v=DKIM1; p="), "permerror: the key has been revoked");
  EXPECT_EQ(key_of("k=ed25519; p="), "permerror: the key has been revoked");
  const std::string not_a_key = "permerror: what stands at the key's name is not a key record";
  for (const std::string& text : {std::string("v=spf1=x"), "v=DKIM2; " + p, p + "; v=DKIM1",
                                  "v=dkim1; " + p, std::string("k=rsa")}) {
    EXPECT_EQ(key_of(text), not_a_key) << text;
  }
  for (const std::string& text : {std::string(), std::string("v=DKIM1; k=rsa;;") + p, p + ";" + p,
                                  std::string("\"v=DKIM1\"")}) {
    EXPECT_EQ(key_of(text), "permerror: the key record has a syntax error") << text;
  }
  EXPECT_EQ(key_of("v=DKIM1"), "permerror: the key record has no p=");
  EXPECT_EQ(key_of("k=dsa; " + p), "permerror: the key record is of an unknown type");
  EXPECT_EQ(key_of("p=!"), "permerror: the key record's p= is not base64");
  EXPECT_EQ(key_of("p=AAAA"), "permerror: the key record's p= is not an RSA key");
  EXPECT_EQ(key_of(std::string("p=") + kEd25519),
            "permerror: the key record's p= is not an RSA key");
  EXPECT_EQ(key_of("k=ed25519; " + p),
            "permerror: the key record's p= is not an Ed25519 key of 32 bytes");
}

TEST(DkimKeyRecordTest, SeveralRecordsAtOneName) {
  const std::string rsa = std::string("v=DKIM1; p=") + kRsa;
  const std::string ed25519 = std::string("v=DKIM1; k=ed25519; p=") + kEd25519;
  const auto usable = [](const std::vector<std::string>& texts) {
    const KeySet keys(texts);
    return keys.keys().size();
  };
  EXPECT_EQ(usable({"v=spf1 -all", rsa, "v=DKIM1; p=", ed25519}), 2U);
  const KeySet none({"v=spf1 -all", "v=DKIM1; p=", "v=DKIM1"});
  EXPECT_TRUE(none.keys().empty());
  EXPECT_EQ(none.problem().what, "the key has been revoked");
  EXPECT_EQ(usable(std::vector<std::string>(20, "x=y")), 0U);
  std::vector<std::string> late(KeySet::kRecordsMax, "x=y");
  late.push_back(rsa);
  EXPECT_EQ(usable(late), 0U);
}

TEST(DkimKeyRecordTest, TheParsedFormIsKeptBesideTheAnswer) {
  auto answer = std::make_shared<dns::Answer>();
  answer->status = dns::Status::kAnswer;
  answer->texts = {std::string("v=DKIM1; p=") + kRsa};
  const std::size_t before = answer->bytes();
  const auto first = KeySet::of(*answer);
  EXPECT_EQ(KeySet::of(*answer), first);
  EXPECT_EQ(answer->bytes(), before + first->bytes());
  EXPECT_GT(first->bytes(), sizeof(KeySet) + sizeof(Key) + 128);
}

}  // namespace
}  // namespace mxring::mailauth::dkim
