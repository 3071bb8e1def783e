// What an epoll engine keeps of operations under way, against a plain list.
#include "uring/epoll_operations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/support/broken_invariant.h"

namespace mxring::uring {
namespace {

Request request(int fd, Tag tag) {
  Request made;
  made.kind = Request::Kind::kReceive;
  made.fd = fd;
  made.tag = tag;
  return made;
}

std::vector<std::uint32_t> slots_of(EpollOperations& operations, int fd) {
  std::vector<std::uint32_t> slots;
  for (OperationIndex at = operations.first_of(fd); at != kNoOperation; at = operations[at].next) {
    slots.push_back(operations[at].request.tag.slot);
  }
  return slots;
}

TEST(EpollOperationsTest, KeepsTheOrderOfADescriptor) {
  EpollOperations operations;
  for (std::uint32_t slot = 0; slot < 5; ++slot) {
    operations.add(request(7, {Operation::kSend, 1, slot}));
  }
  operations.remove(operations.find({Operation::kSend, 1, 2}));
  EXPECT_EQ(slots_of(operations, 7), (std::vector<std::uint32_t>{0, 1, 3, 4}));
  operations.remove(operations.find({Operation::kSend, 1, 0}));
  operations.remove(operations.find({Operation::kSend, 1, 4}));
  operations.add(request(7, {Operation::kSend, 1, 9}));
  EXPECT_EQ(slots_of(operations, 7), (std::vector<std::uint32_t>{1, 3, 9}));
  EXPECT_EQ(operations.find({Operation::kSend, 2, 1}), kNoOperation) << "another generation";
  operations.invariants();
}

MXRING_REVEAL(PlacesOf, &EpollOperations::places_);
MXRING_REVEAL(ListsOf, &EpollOperations::by_descriptor_);
MXRING_REVEAL(LiveOf, &EpollOperations::live_);

TEST(EpollOperationsDeathTest, EachInvariantFires) {
  EpollOperations operations;
  const OperationIndex one = operations.add(request(7, {Operation::kSend, 1, 1}));
  operations.add(request(7, {Operation::kSend, 1, 2}));
  operations.invariants();
  auto& places = operations.*member_of(PlacesOf{});
  auto& lists = operations.*member_of(ListsOf{});
  const auto expect = [&operations](const char* condition, auto break_it) {
    test::expect_fires(condition, [&] {
      break_it();
      operations.invariants();
    });
  };
  expect("places_[at].live && places_[at].request.fd == static_cast<int>(fd)",
         [&] { places[one].request.fd = 8; });
  expect("++listed <= live_", [&] { places[one].next = one; });
  expect("by_descriptor_[fd].last == last", [&] { lists[7].last = one; });
  expect("places_[at].live && ++hashed <= live_", [&] {
    lists[7] = {};
    places[one].live = false;
  });
  expect("listed == live_ && hashed == live_ && live_ + free_.size() == places_.size()",
         [&] { ++(operations.*member_of(LiveOf{})); });
}

TEST(EpollOperationsTest, AgreesWithAPlainListThroughManyChanges) {
  std::mt19937 random(7);
  EpollOperations operations;
  std::vector<std::pair<int, Tag>> plain;
  std::uint32_t next_slot = 0;
  for (int round = 0; round < 20'000; ++round) {
    if (plain.empty() || random() % 5 < 3) {
      const int fd = static_cast<int>(random() % 40);
      const Tag tag{Operation::kReceive, static_cast<std::uint32_t>(random() % 3), next_slot++};
      operations.add(request(fd, tag));
      plain.emplace_back(fd, tag);
    } else {
      const auto gone = plain.begin() + static_cast<long>(random() % plain.size());
      const OperationIndex index = operations.find(gone->second);
      ASSERT_NE(index, kNoOperation);
      operations.remove(index);
      plain.erase(gone);
    }
    ASSERT_EQ(operations.size(), plain.size());
    if (round % 1000 == 0) {
      operations.invariants();
    }
  }
  for (int fd = 0; fd < 40; ++fd) {
    std::vector<std::uint32_t> expected;
    for (const auto& [of, tag] : plain) {
      if (of == fd) expected.push_back(tag.slot);
    }
    EXPECT_EQ(slots_of(operations, fd), expected);
  }
}

}  // namespace
}  // namespace mxring::uring
