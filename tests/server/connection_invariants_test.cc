// What holds of a net::Connection between two calls, broken piece by piece.
#include <gtest/gtest.h>

#include "net/connection.h"
#include "tests/server/shard_parts.h"
#include "tests/support/broken_invariant.h"

namespace mxring::net {
namespace {

MXRING_REVEAL(FrontOf, &Connection::front_);
MXRING_REVEAL(ChunksOf, &Connection::chunks_);
MXRING_REVEAL(SendOf, &Connection::send_in_flight_);
MXRING_REVEAL(ReceiveOf, &Connection::receive_armed_);
MXRING_REVEAL(FdOf, &Connection::fd_);
MXRING_REVEAL(StarvedOf, &Connection::decrypt_starved_);

TEST(ConnectionDeathTest, EachInvariantFires) {
  server::test::ShardParts shard;
  Connection connection(*shard.connections, 1'000'000, 1, 1);
  connection.invariants();
  const auto expect = [&connection](const char* condition, auto break_it) {
    mxring::test::expect_fires(condition, [&] {
      break_it();
      connection.invariants();
    });
  };
  expect("front_ < chunks_.size() || (front_ == 0 && chunks_.empty())",
         [&] { connection.*member_of(FrontOf{}) = 5; });
  expect("chunks_[i].begin < chunks_[i].end && chunks_[i].end <= buffer_bytes()",
         [&] { (connection.*member_of(ChunksOf{})).emplace_back(); });
  expect("output_.has_unsent() && fd_ >= 0", [&] { connection.*member_of(SendOf{}) = true; });
  expect("fd_ >= 0", [&] {
    connection.*member_of(ReceiveOf{}) = true;
    connection.*member_of(FdOf{}) = -1;
  });
  expect("shut_", [&] { connection.*member_of(FdOf{}) = -1; });
  expect("tls_ != nullptr", [&] { connection.*member_of(StarvedOf{}) = true; });
  connection.shut();
  EXPECT_TRUE(connection.try_close());
}

}  // namespace
}  // namespace mxring::net
