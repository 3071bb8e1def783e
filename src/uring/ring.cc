#include "uring/ring.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/assert.h"
#include "uring/engine.h"

namespace mxring::uring {

namespace {

void trace_queued(FaultPlan* faults, FaultPoint point, const Request& request, int error) {
  if (!faults->tracing()) return;
  std::string line = fmt::format("{} slot {} generation {}", name(point), request.tag.slot,
                                 request.tag.generation);
  const bool transfers =
      request.kind == Request::Kind::kReceive || request.kind == Request::Kind::kSend ||
      request.kind == Request::Kind::kRead || request.kind == Request::Kind::kWrite;
  if (transfers && request.size != 0) line += fmt::format(" {} bytes", request.size);
  line += error == 0 ? std::string(" -> queued") : fmt::format(" -> errno {}", error);
  faults->record(std::move(line));
}

bool can_be_shortened(Request::Kind kind) {
  return kind == Request::Kind::kReceive || kind == Request::Kind::kSend ||
         kind == Request::Kind::kRead || kind == Request::Kind::kWrite;
}

EngineChoice from_environment() {
  const char* wanted = std::getenv("MXRING_SHARDS__ENGINE");
  if (wanted == nullptr) return EngineChoice::kAuto;
  return parse_engine_choice(wanted).value_or(EngineChoice::kAuto);
}

}  // namespace

std::optional<EngineChoice> parse_engine_choice(std::string_view word) {
  if (word == "auto") return EngineChoice::kAuto;
  if (word == "io_uring") return EngineChoice::kIoUring;
  if (word == "epoll") return EngineChoice::kEpoll;
  return std::nullopt;
}

Ring::Ring(std::unique_ptr<Engine> engine, FaultPlan* faults)
    : engine_(std::move(engine)), faults_(faults) {
  MXRING_ASSERT(engine_ != nullptr);
}
Ring::Ring(Ring&&) noexcept = default;
Ring& Ring::operator=(Ring&&) noexcept = default;
Ring::~Ring() = default;

std::expected<Ring, RingError> Ring::create(const Options& options, FaultPlan* faults) {
  if (faults != nullptr && faults->make_engine) return on(faults->make_engine(), faults);
  const EngineChoice choice =
      options.engine == EngineChoice::kAuto ? from_environment() : options.engine;
  std::string reason;
  if (choice != EngineChoice::kEpoll) {
    auto engine = make_io_uring_engine(options);
    if (engine) {
      Ring ring(std::move(*engine), faults);
      ring.completions_.reserve(options.completion_entries);
      return ring;
    }
    if (choice == EngineChoice::kIoUring) return std::unexpected(engine.error());
    reason = std::move(engine.error().message);
  }
  auto engine = make_epoll_engine();
  if (!engine) return std::unexpected(engine.error());
  Ring ring(std::move(*engine), faults);
  ring.fallback_reason_ = std::move(reason);
  return ring;
}

Ring Ring::on(std::unique_ptr<Engine> engine, FaultPlan* faults) {
  return Ring(std::move(engine), faults);
}

// Production passes no plan and pays one branch.
void Ring::queue(FaultPoint point, Request request) {
  if (issuer_ == std::thread::id{}) issuer_ = std::this_thread::get_id();
  MXRING_ASSERT(issuer_ == std::this_thread::get_id());
  if (faults_ != nullptr) {
    const FaultRule rule = faults_->next(point).value_or(FaultRule{});
    if (can_be_shortened(request.kind)) {
      request.size =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(request.size, rule.shorten_to));
    }
    trace_queued(faults_, point, request, rule.error);
    if (rule.error != 0) {
      Completion failure;
      failure.tag = request.tag;
      failure.result = -rule.error;
      made_up_.push_back(failure);
      return;
    }
  }
  engine_->queue(request);
}

void Ring::accept(int listener_fd, Tag tag) {
  queue(FaultPoint::kAccept, {.kind = Request::Kind::kAccept, .fd = listener_fd, .tag = tag});
}

void Ring::accept_multishot(int listener_fd, Tag tag) {
  queue(FaultPoint::kAccept,
        {.kind = Request::Kind::kAcceptMultishot, .fd = listener_fd, .tag = tag});
}

void Ring::receive_multishot(int fd, std::uint16_t group, Tag tag) {
  queue(FaultPoint::kReceive,
        {.kind = Request::Kind::kReceiveMultishot, .group = group, .fd = fd, .tag = tag});
}

void Ring::receive(int fd, void* bytes, std::uint32_t size, Tag tag) {
  queue(FaultPoint::kReceive,
        {.kind = Request::Kind::kReceive, .fd = fd, .bytes = bytes, .size = size, .tag = tag});
}

void Ring::send(int fd, const void* bytes, std::uint32_t size, Tag tag) {
  queue(FaultPoint::kSend,
        {.kind = Request::Kind::kSend, .fd = fd, .bytes = bytes, .size = size, .tag = tag});
}

void Ring::send_vector(int fd, const msghdr* message, Tag tag) {
  queue(FaultPoint::kSend,
        {.kind = Request::Kind::kSendVector, .fd = fd, .bytes = message, .tag = tag});
}

void Ring::connect(int fd, const void* address, std::uint32_t address_bytes, Tag tag) {
  queue(FaultPoint::kConnect, {.kind = Request::Kind::kConnect,
                               .fd = fd,
                               .bytes = address,
                               .size = address_bytes,
                               .tag = tag});
}

void Ring::read(int fd, void* bytes, std::uint32_t size, Tag tag) {
  queue(FaultPoint::kRead,
        {.kind = Request::Kind::kRead, .fd = fd, .bytes = bytes, .size = size, .tag = tag});
}

void Ring::write(int fd, const void* bytes, std::uint32_t size, Tag tag) {
  queue(FaultPoint::kWrite,
        {.kind = Request::Kind::kWrite, .fd = fd, .bytes = bytes, .size = size, .tag = tag});
}

void Ring::poll(int fd, std::uint32_t poll_mask, Tag tag) {
  queue(FaultPoint::kPoll, {.kind = Request::Kind::kPoll, .fd = fd, .size = poll_mask, .tag = tag});
}

void Ring::poll_remove(Tag target, Tag tag) {
  queue(FaultPoint::kCancel, {.kind = Request::Kind::kPollRemove, .tag = tag, .target = target});
}

void Ring::close(int fd, Tag tag) {
  queue(FaultPoint::kClose, {.kind = Request::Kind::kClose, .fd = fd, .tag = tag});
}

void Ring::cancel(Tag target, Tag tag) {
  queue(FaultPoint::kCancel, {.kind = Request::Kind::kCancel, .tag = tag, .target = target});
}

int Ring::submit() {
  return engine_->submit();
}

std::span<const Completion> Ring::submit_and_wait(std::int64_t timeout_ns) {
  completions_.clear();
  if (!made_up_.empty()) {
    std::swap(completions_, made_up_);
    timeout_ns = 0;  // there is something to act on already
  }
  engine_->submit_and_wait(timeout_ns, completions_);
  return completions_;
}

std::uint64_t Ring::system_calls() const {
  return engine_->system_calls();
}
unsigned Ring::queued() const {
  return engine_->queued();
}
unsigned Ring::ready() const {
  return engine_->ready();
}
std::string_view Ring::engine_name() const {
  return engine_->name();
}

}  // namespace mxring::uring
