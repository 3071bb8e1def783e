#include "cli/message_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace mxring::cli {
namespace {

std::string converted(std::string text, std::uint64_t count) {
  EXPECT_EQ(add_missing_cr(text), count);
  return text;
}

TEST(MessageFileTest, BareLfsBecomeCrlf) {
  EXPECT_EQ(converted("", 0), "");
  EXPECT_EQ(converted("a\r\nb", 0), "a\r\nb");
  EXPECT_EQ(converted("\n", 1), "\r\n");
  EXPECT_EQ(converted("a\nb\r\n\nc", 2), "a\r\nb\r\n\r\nc");
  EXPECT_EQ(converted("a\rb\n\r\r\n", 1), "a\rb\r\n\r\r\n");
}

TEST(MessageFileTest, FilesAreReadAsAskedFor) {
  const test::TempDir folder;
  const std::string path = (folder.path() / "message").string();
  std::ofstream(path, std::ios::binary) << "a\n" << std::string(200'000, 'x') << "\n";
  const auto mail = read_message({.path = path, .exact = false});
  ASSERT_TRUE(mail);
  EXPECT_EQ(mail->size(), 200'005U);
  EXPECT_TRUE(mail->starts_with("a\r\nx"));
  EXPECT_EQ(read_message({.path = path, .exact = true})->size(), 200'003U);
  const auto missing = read_message({.path = path + "-not", .exact = false});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().find("No such file"), std::string::npos);
  EXPECT_FALSE(read_message({.path = folder.path().string(), .exact = false}));
}

}  // namespace
}  // namespace mxring::cli
