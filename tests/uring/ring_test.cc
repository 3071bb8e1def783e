// The ring over socket pairs, loopback TCP, pipes and eventfds.
#include "uring/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/slot_pool.h"
#include "tests/uring/ring_fixture.h"
#include "uring/buffer_pool.h"

namespace mxring::uring {
namespace {

constexpr Tag kReceiveTag{Operation::kReceive, 1, 10};
constexpr Tag kSendTag{Operation::kSend, 1, 11};
constexpr Tag kOtherTag{Operation::kCancel, 1, 12};

TEST(TagTest, SurvivesPackingAtTheEdges) {
  for (const Tag tag :
       {Tag{}, Tag{Operation::kAccept, 0, 0}, Tag{Operation::kPoll, 0xFFFFFF, 0xFFFFFFFF},
        Tag{Operation::kTimeout, 1, 0x80000000}, Tag{Operation::kSend, 0x800000, 1}}) {
    EXPECT_EQ(Tag::unpack(tag.pack()), tag);
  }
  // A generation that has run over 24 bits does not spill into the operation.
  const Tag spilled = Tag::unpack(Tag{Operation::kSend, 0x1000001, 7}.pack());
  EXPECT_EQ(spilled, (Tag{Operation::kSend, 1, 7}));
}

TEST_F(RingTest, AcceptsManyConnectionsWithOneOperation) {
  Listener listener;
  const Tag tag{Operation::kAccept, 0, 1};
  ring_->accept_multishot(listener.fd, tag);
  EXPECT_EQ(ring_->queued(), 1U);
  std::vector<int> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(listener.connect_client());
  const auto seen = wait_for(5);
  ASSERT_EQ(seen.size(), 5U);
  EXPECT_EQ(ring_->queued(), 0U);
  for (const Completion& completion : seen) {
    EXPECT_EQ(completion.tag, tag);
    EXPECT_TRUE(completion.more);
    ASSERT_GE(completion.result, 0);
    EXPECT_EQ(::fcntl(completion.result, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ::close(completion.result);
  }
  for (const int client : clients) ::close(client);
}

// The descriptors of this process that are rings.
std::vector<int> ring_descriptors() {
  std::vector<int> found;
  for (int fd = 0; fd < 256; ++fd) {
    char name[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (::readlink(link.c_str(), name, sizeof name - 1) > 0 &&
        std::string_view(name).find("[io_uring]") != std::string_view::npos) {
      found.push_back(fd);
    }
  }
  return found;
}

TEST(RingRestrictionTest, WhatIsNotUsedIsRefused) {
  auto ring = Ring::create({.engine = EngineChoice::kIoUring, .connects = false}, nullptr);
  if (!ring) GTEST_SKIP() << ring.error().message;
  Listener listener;
  sockaddr_in to{};
  socklen_t size = sizeof to;
  ASSERT_EQ(::getsockname(listener.fd, reinterpret_cast<sockaddr*>(&to), &size), 0);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ring->connect(client, &to, size, kOtherTag);
  int result = 0;
  for (const Completion& completion : ring->submit_and_wait(base::kNsPerSecond)) {
    result = completion.result;
  }
  EXPECT_EQ(result, -EACCES);
  ::close(client);
  // Nor may anybody register what would lift or go around the restrictions.
  const auto rings = ring_descriptors();
  ASSERT_FALSE(rings.empty());
  constexpr unsigned kRegisterFiles = 2;
  constexpr unsigned kRegisterPersonality = 9;
  for (const unsigned operation : {kRegisterFiles, kRegisterPersonality}) {
    int fd = 0;
    EXPECT_EQ(::syscall(SYS_io_uring_register, rings.back(), operation, &fd, 1), -1);
    EXPECT_EQ(errno, EACCES) << operation;
  }
}

TEST_F(RingTest, ConnectsOverTcp) {
  Listener listener;
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const Tag tag{Operation::kConnect, 3, 4};
  ring_->connect(client, &listener.address, sizeof listener.address, tag);
  const auto seen = wait_for(1);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].tag, tag);
  EXPECT_EQ(seen[0].result, 0);
  ::close(client);
}

TEST_F(RingTest, MultishotReceiveDeliversUntilTheEnd) {
  auto pool = BufferPool::create(*ring_, {.group = 5, .buffers = 64, .offered = 8});
  ASSERT_TRUE(pool.has_value()) << pool.error().message;
  SocketPair pair;
  ring_->receive_multishot(pair[0], 5, kReceiveTag);
  std::string received;
  bool ended = false;
  for (int i = 0; i < 40; ++i) {
    const std::string part = "part " + std::to_string(i) + "\r\n";
    ASSERT_EQ(::write(pair[1], part.data(), part.size()), static_cast<ssize_t>(part.size()));
    for (const Completion& completion : ring_->submit_and_wait(kWaitNs)) {
      EXPECT_TRUE(completion.more);  // one operation for all of it
      ASSERT_TRUE(completion.has_buffer);
      pool->adopt(completion.buffer_id);
      received.append(pool->data(completion.buffer_id),
                      static_cast<std::size_t>(completion.result));
      pool->release(completion.buffer_id);
    }
    pool->replenish();
  }
  std::string sent;
  for (int i = 0; i < 40; ++i) sent += "part " + std::to_string(i) + "\r\n";
  EXPECT_EQ(received, sent);

  pair.close_end(1);
  for (const Completion& completion : wait_for(1)) {
    ended = completion.result == 0 && !completion.more;
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(pool->held_buffers(), 0U);
}

TEST_F(RingTest, EmptyGroupEndsTheReceiveAndItCanBeArmedAgain) {
  auto pool =
      BufferPool::create(*ring_, {.group = 1, .buffer_bytes = 64, .buffers = 2, .offered = 2});
  ASSERT_TRUE(pool.has_value()) << pool.error().message;
  SocketPair pair;
  const std::string sent(200, 'x');
  ASSERT_EQ(::write(pair[1], sent.data(), sent.size()), 200);
  ring_->receive_multishot(pair[0], 1, kReceiveTag);

  const auto seen = wait_for(3);
  ASSERT_EQ(seen.size(), 3U);
  std::size_t received = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(seen[i].has_buffer);
    pool->adopt(seen[i].buffer_id);
    received += static_cast<std::size_t>(seen[i].result);
  }
  EXPECT_EQ(received, 128U);
  EXPECT_EQ(seen[2].result, -ENOBUFS);
  EXPECT_FALSE(seen[2].more);
  EXPECT_EQ(pool->held_buffers(), 2U);

  pool->release(seen[0].buffer_id);
  pool->release(seen[1].buffer_id);
  pool->replenish();
  ring_->receive_multishot(pair[0], 1, kReceiveTag);
  for (const Completion& completion : wait_for(2)) {
    // Linux 6.1 wants a third buffer before it looks whether there are more bytes, and ends here.
    if (completion.result == -ENOBUFS) continue;
    ASSERT_TRUE(completion.has_buffer);
    received += static_cast<std::size_t>(completion.result);
    pool->adopt(completion.buffer_id);
  }
  EXPECT_EQ(received, 200U);
}

TEST_F(RingTest, CancelEndsAReceive) {
  SocketPair pair;
  char byte = 0;
  ring_->receive(pair[0], &byte, 1, kReceiveTag);
  ring_->submit_and_wait(0);
  ring_->cancel(kReceiveTag, kOtherTag);
  const auto seen = wait_for(2);
  ASSERT_EQ(seen.size(), 2U);
  const Completion* receive = find(seen, kReceiveTag);
  const Completion* cancel = find(seen, kOtherTag);
  ASSERT_TRUE(receive != nullptr && cancel != nullptr);
  EXPECT_EQ(receive->result, -ECANCELED);
  EXPECT_EQ(cancel->result, 0);
}

TEST_F(RingTest, CancelOfNothingSaysSo) {
  ring_->cancel(kReceiveTag, kOtherTag);
  const auto seen = wait_for(1);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].result, -ENOENT);
}

TEST_F(RingTest, CompletionOfAnObjectThatHasGoneIsRecognised) {
  struct Object {
    char byte = 0;
  };
  base::SlotPool<Object> objects(4);
  base::SlotPool<Object>::Ref old_ref;
  char memory = 0;  // outlives the object, as the contract of receive() wants
  ASSERT_NE(objects.acquire(&old_ref), nullptr);
  SocketPair pair;
  ring_->receive(pair[0], &memory, 1, {Operation::kReceive, old_ref.generation, old_ref.slot});
  ring_->submit_and_wait(0);
  objects.release(old_ref);
  base::SlotPool<Object>::Ref new_ref;
  ASSERT_NE(objects.acquire(&new_ref), nullptr);
  ASSERT_EQ(new_ref.slot, old_ref.slot);

  ASSERT_EQ(::write(pair[1], "z", 1), 1);
  const auto seen = wait_for(1);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(objects.find({seen[0].tag.slot, seen[0].tag.generation}), nullptr);
  EXPECT_NE(objects.find(new_ref), nullptr);
}

TEST_F(RingTest, SendGoesOnUntilAllIsSent) {
  // Larger than the socket's buffer: without MSG_WAITALL the kernel would answer a short count.
  SocketPair pair;
  std::string sent(4 << 20, '\0');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 >> 3);
  std::string received;
  std::thread reader([&] {
    std::vector<char> part(64 * 1024);
    while (received.size() < sent.size()) {
      const ssize_t n = ::read(pair[1], part.data(), part.size());
      if (n <= 0) break;
      received.append(part.data(), static_cast<std::size_t>(n));
    }
  });
  ring_->send(pair[0], sent.data(), static_cast<std::uint32_t>(sent.size()), kSendTag);
  const auto seen = wait_for(1);
  if (seen.size() != 1) pair.close_end(0);
  reader.join();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].result, static_cast<int>(sent.size()));
  EXPECT_TRUE(received == sent);
}

TEST_F(RingTest, SendVectorGoesOnThroughAllPiecesUntilAllIsSent) {
  SocketPair pair;
  // More than a socket buffer takes at once, in pieces of unequal size, one of them empty.
  std::string pieces[5] = {std::string(3, 'a'), std::string(3'000'000, 'b'), "",
                           std::string(1'000'001, 'c'), "\r\n.\r\n"};
  iovec slices[5];
  std::string whole;
  for (int i = 0; i < 5; ++i) {
    slices[i] = {pieces[i].data(), pieces[i].size()};
    whole += pieces[i];
  }
  msghdr message{};
  message.msg_iov = slices;
  message.msg_iovlen = 5;
  std::string received;
  std::thread reader([&] {
    char part[65536];
    while (received.size() < whole.size()) {
      const ssize_t got = ::read(pair[1], part, sizeof part);
      if (got <= 0) return;
      received.append(part, static_cast<std::size_t>(got));
    }
  });
  ring_->send_vector(pair[0], &message, kSendTag);
  const auto seen = wait_for(1);
  if (seen.size() != 1) pair.close_end(0);
  reader.join();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].result, static_cast<std::int32_t>(whole.size()));
  EXPECT_EQ(received, whole);
}

TEST_F(RingTest, SendToAClosedPeerIsAnErrorNotASignal) {
  SocketPair pair;
  pair.close_end(1);
  ring_->send(pair[0], "x", 1, kSendTag);
  const auto seen = wait_for(1);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].result, -EPIPE);
}

TEST_F(RingTest, ReadsAnEventfdWhenAnotherThreadRings) {
  const int event = ::eventfd(0, EFD_CLOEXEC);
  std::uint64_t value = 0;
  const Tag tag{Operation::kWake, 0, 0};
  ring_->read(event, &value, sizeof value, tag);
  ring_->submit_and_wait(0);
  std::thread waker([&] {
    const std::uint64_t three = 3;
    EXPECT_EQ(::write(event, &three, sizeof three), 8);
  });
  const auto seen = wait_for(1);
  waker.join();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].tag, tag);
  EXPECT_EQ(seen[0].result, 8);
  EXPECT_EQ(value, 3U);
  ::close(event);
}

TEST_F(RingTest, WritesPollsShutsDownAndCloses) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Tag poll_tag{Operation::kPoll, 0, 1};
  ring_->poll(ends[0], POLLIN, poll_tag);
  ring_->write(ends[1], "ab", 2, kSendTag);
  auto seen = wait_for(2);
  ASSERT_EQ(seen.size(), 2U);
  const Completion* poll = find(seen, poll_tag);
  ASSERT_NE(poll, nullptr);
  EXPECT_FALSE(poll->more);
  EXPECT_EQ(poll->result & POLLIN, POLLIN);
  ASSERT_NE(find(seen, kSendTag), nullptr);
  EXPECT_EQ(find(seen, kSendTag)->result, 2);

  // What nobody has read is reported again.
  ring_->poll(ends[0], POLLIN, poll_tag);
  seen = wait_for(1);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].tag, poll_tag);
  char bytes[2];
  ASSERT_EQ(::read(ends[0], bytes, sizeof bytes), 2);

  ring_->poll(ends[0], POLLIN, poll_tag);
  ring_->poll_remove(poll_tag, kOtherTag);
  seen = wait_for(2);
  ASSERT_NE(find(seen, kOtherTag), nullptr);
  EXPECT_EQ(find(seen, kOtherTag)->result, 0);
  ASSERT_NE(find(seen, poll_tag), nullptr);
  EXPECT_EQ(find(seen, poll_tag)->result, -ECANCELED);

  ring_->close(ends[0], {Operation::kClose, 0, 0});
  ring_->close(ends[1], {Operation::kClose, 0, 1});
  seen = wait_for(2);
  ASSERT_EQ(seen.size(), 2U);
  for (const Completion& completion : seen) EXPECT_EQ(completion.result, 0);
  EXPECT_EQ(::fcntl(ends[0], F_GETFD), -1);
}

TEST_F(RingTest, ZeroTimeoutRunsDeferredWork) {
  SocketPair pair;
  char byte = 0;
  ring_->receive(pair[0], &byte, 1, kReceiveTag);
  EXPECT_TRUE(ring_->submit_and_wait(0).empty());
  ASSERT_EQ(::write(pair[1], "q", 1), 1);
  // The kernel knows that the byte is there, but the ring asked for such work to be kept until it
  // enters the kernel; entering without waiting must be enough.
  const auto seen = ring_->submit_and_wait(0);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(byte, 'q');
}

TEST_F(RingTest, TimeoutEndsTheWait) {
  const base::MonoTime before = base::read_clocks().mono;
  EXPECT_TRUE(ring_->submit_and_wait(30 * base::kNsPerMs).empty());
  const std::int64_t waited = base::read_clocks().mono - before;
  EXPECT_GE(waited, 30 * base::kNsPerMs);
  EXPECT_LT(waited, kWaitNs);
}

TEST_F(RingTest, SignalEndsTheWaitWithoutAnError) {
  struct sigaction action {};
  struct sigaction previous {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &previous), 0);
  itimerval soon{};
  soon.it_value.tv_usec = 20'000;
  ASSERT_EQ(::setitimer(ITIMER_REAL, &soon, nullptr), 0);
  EXPECT_TRUE(ring_->submit_and_wait(-1).empty());
  ::sigaction(SIGALRM, &previous, nullptr);
}

TEST_F(RingTest, OneTurnIsOneSystemCall) {
  if (!on_io_uring()) GTEST_SKIP() << "epoll makes one for each operation";
  SocketPair pair;
  char bytes[8];
  const std::uint64_t before = ring_->system_calls();
  ring_->receive(pair[0], bytes, 1, kReceiveTag);
  ring_->send(pair[1], "x", 1, kSendTag);
  ring_->submit_and_wait(kWaitNs);
  EXPECT_EQ(ring_->system_calls() - before, 1U);
}

TEST_F(RingTest, MovesWithItsOperationsInFlight) {
  SocketPair pair;
  char byte = 0;
  ring_->receive(pair[0], &byte, 1, kReceiveTag);
  ring_->submit_and_wait(0);
  Ring moved = std::move(*ring_);
  ASSERT_EQ(::write(pair[1], "m", 1), 1);
  const auto seen = moved.submit_and_wait(kWaitNs);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(byte, 'm');
}

}  // namespace
}  // namespace mxring::uring
