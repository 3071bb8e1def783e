#include "server/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "base/text.h"
#include "obs/line_output.h"
#include "obs/line_queue.h"
#include "server/crash_report.h"
#include "server/wake.h"

namespace mxring::server {

namespace {

constexpr std::size_t kLines = 256;
constexpr std::size_t kGatherBytes = 32 << 10;  // written together
constexpr int kReaderMs = 100;                  // how long one wait for the reader lasts
constexpr std::int64_t kIdleNs = 60 * base::kNsPerSecond;
constexpr std::int64_t kEndNs = base::kNsPerSecond;
constexpr std::int64_t kInterruptNs = base::kNsPerSecond;
constexpr std::int64_t kFoldLookNs = base::kNsPerSecond;
static_assert(kFoldLookNs <= kIdleNs && kGatherBytes > obs::LineQueue::kLineBytesMax);
constexpr std::string_view kName = "mxring: ";
constexpr std::string_view kToConsole = "stderr";
constexpr std::string_view kInformation = "<6>";
// The first byte of a line in the queue.
constexpr char kNoticeLine = 'n';
constexpr char kTextLine = 't';
constexpr char kJournalLine = 'j';

// systemd names the device and inode of the stream it reads; then, and only then, a line may begin
// with its urgency (sd-daemon(3)).
bool is_system_journal(int fd) {
  const char* named = std::getenv("JOURNAL_STREAM");
  struct stat of {};
  if (named == nullptr || ::fstat(fd, &of) != 0) return false;
  return fmt::format("{}:{}", of.st_dev, of.st_ino) == named;
}

std::string_view urgency_of(std::string_view words) {
  if (words.starts_with("fatal: ")) return "<2>";
  return words.starts_with("warning: ") ? "<4>" : kInformation;
}

int open_file(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

// Every reply in every stage has its counter, and so has every end without a reply.
constexpr std::size_t kStages = static_cast<std::size_t>(smtp::Stage::kCommand) + 1;
constexpr std::size_t kReplyKeys = smtp::kReplies.size() * kStages;
constexpr std::size_t kFoldKeys = kReplyKeys + static_cast<std::size_t>(CutOff::kCount);

std::size_t key_of(smtp::ReplyId id, smtp::Stage stage) {
  return static_cast<std::size_t>(id) * kStages + static_cast<std::size_t>(stage);
}
std::size_t key_of(CutOff why) {
  return kReplyKeys + static_cast<std::size_t>(why);
}

void describe(const smtp::Reply& reply, smtp::Stage stage, JournalLine& line) {
  line.event = event_of(reply.id(), stage);
  line.stage = word(stage);
  line.codes = reply.codes();
  line.text = reply.text();
}

void describe(CutOff why, JournalLine& line) {
  line.event = JournalEvent::kCutOff;
  line.stage = word(stage_of(why));
  line.codes = {};  // no reply
  line.text = words(why);
}

void describe(std::size_t key, JournalLine& line) {
  MXRING_ASSERT(key < kFoldKeys);
  if (key >= kReplyKeys) return describe(static_cast<CutOff>(key - kReplyKeys), line);
  describe(smtp::Reply(static_cast<smtp::ReplyId>(key / kStages)),
           static_cast<smtp::Stage>(key % kStages), line);
}

}  // namespace

struct Journal::State {
  explicit State(int fd) : console(fd), with_urgency(is_system_journal(fd)) {}
  ~State() {
    if (file_fd >= 0) ::close(file_fd);
  }

  void run();
  void gather();
  void take(std::string_view line);
  void take_notice(std::string_view line);
  void append(obs::LineOutput& output, std::string_view urgency, std::string_view line);
  void append_journal(std::string_view urgency, std::string_view line);
  void say_dropped();
  void say_folded(base::MonoTime now);
  void open_again();
  bool flush();
  std::size_t pending() const { return console.pending() + (file ? file->pending() : 0); }
  bool has_work() const {
    return !queue.empty() || stopping.load(std::memory_order_seq_cst) ||
           reopening.load(std::memory_order_relaxed);
  }

  obs::LineQueue queue{kLines};
  FutexWake wake;
  std::atomic<bool> stopping{false};
  std::atomic<bool> ended{false};
  std::atomic<bool> reopening{false};
  std::atomic<bool> serving{false};
  std::atomic<std::size_t> written{0};  // lines, of those that found room
  std::atomic<std::uint64_t> lost{0};   // gathered already, when the reader went

  // The rate: lines let through in the second `window`. Which thread opens a second does not
  // matter, and neither do a few lines more or less at its edge, so all of it is relaxed.
  std::atomic<std::int64_t> window{0};
  std::atomic<std::uint32_t> spent{0};
  std::atomic<bool> folding{false};
  std::array<std::atomic<std::uint64_t>, kFoldKeys> folded{};

  // Set before start().
  Options options;
  std::uint64_t run_id = 0;
  std::mutex file_mutex;  // of file_fd, and of what a crash report is told about it
  int file_fd = -1;

  // The thread's own.
  obs::LineOutput console;
  std::optional<obs::LineOutput> file;
  const bool with_urgency;
  std::uint64_t said_dropped = 0;
  std::uint64_t unwritten_lines = 0;
  base::MonoTime fold_at{0};
};

void Journal::State::append(obs::LineOutput& output, std::string_view urgency,
                            std::string_view line) {
  if (&output == &console && with_urgency) output.append(urgency);
  output.append(line);
  if (!line.ends_with('\n')) output.append("\n");
  ++unwritten_lines;
}

void Journal::State::append_journal(std::string_view urgency, std::string_view line) {
  append(file ? *file : console, urgency, line);
}

void Journal::State::take_notice(std::string_view line) {
  const std::string_view words = line.substr(kName.size());
  const bool to_console = options.to == kToConsole;
  const bool as_line = to_console && serving.load(std::memory_order_relaxed);
  if (!as_line) {
    // With a file to write, a console that nobody reads holds nothing up.
    if (console.pending() < kGatherBytes) {
      append(console, urgency_of(words), line);
    } else {
      lost.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (!as_line && !file) return;
  JournalLine notice;
  notice.time = base::read_clocks().wall;
  notice.text = words;
  std::array<char, kJournalLineBytesMin> text{};
  append_journal(urgency_of(words),
                 {text.data(), write_line(notice, options.format, run_id, text)});
}

// The first byte says what kind of line it is.
void Journal::State::take(std::string_view line) {
  const std::string_view rest = line.substr(1);
  switch (line.front()) {
    case kNoticeLine:
      return take_notice(rest);
    case kTextLine:
      return append(console, kInformation, rest);
    default:
      return append_journal(kInformation, rest);
  }
}

void Journal::State::say_dropped() {
  const std::uint64_t dropped = queue.dropped();
  if (dropped == said_dropped) return;
  take_notice(
      fmt::format("{}warning: {} lines were dropped here: whoever reads them had stopped reading",
                  kName, dropped - said_dropped));
  said_dropped = dropped;
}

// What was folded in the second that has passed, a line for each event, stage and reply.
void Journal::State::say_folded(base::MonoTime now) {
  if (!folding.load(std::memory_order_relaxed)) return;
  if (fold_at.ns == 0) fold_at = now + base::kNsPerSecond;
  if (now < fold_at && !stopping.load(std::memory_order_relaxed)) return;
  fold_at = {0};
  folding.store(false, std::memory_order_relaxed);
  for (std::size_t key = 0; key < kFoldKeys; ++key) {
    const std::uint64_t count = folded[key].exchange(0, std::memory_order_relaxed);
    if (count == 0) continue;
    JournalLine line;
    line.time = base::read_clocks().wall;
    line.repeated = count;
    describe(key, line);
    std::array<char, kJournalLineBytesMin> text{};
    append_journal(kInformation, {text.data(), write_line(line, options.format, run_id, text)});
  }
}

void Journal::State::open_again() {
  if (!reopening.exchange(false, std::memory_order_relaxed) || !file) return;
  file->flush(0);
  const int fd = open_file(options.to);
  if (fd < 0) {
    take_notice(
        fmt::format("{}warning: journal.to = {} cannot be opened again, the old file stays "
                    "in use: {}",
                    kName, base::escaped(options.to), std::strerror(errno)));
    return;
  }
  file->redirect(fd);
  const std::lock_guard lock(file_mutex);
  crash_report::use_journal(fd, options.format, run_id);
  ::close(std::exchange(file_fd, fd));
}

void Journal::State::gather() {
  obs::LineOutput& main = file ? *file : console;
  while (main.pending() < kGatherBytes &&
         queue.pop([this](std::string_view line) { take(line); })) {
  }
  // After the lines that were in front of the gap.
  if (queue.empty()) say_dropped();
}

// True when everything is written.
bool Journal::State::flush() {
  using Flushed = obs::LineOutput::Flushed;
  bool all = true;
  const auto write = [&](obs::LineOutput& output) {
    const Flushed result = output.flush(kReaderMs);
    if (result == Flushed::kBroken) lost.fetch_add(unwritten_lines, std::memory_order_relaxed);
    if (result == Flushed::kLater) all = false;
  };
  if (file) write(*file);
  write(console);
  if (all) unwritten_lines = 0;
  return all;
}

std::uint64_t Journal::run() const {
  return state_->run_id;
}

void Journal::State::run() {
  pthread_setname_np(pthread_self(), "mxring-journal");
  if (file_fd >= 0) file.emplace(file_fd);
  base::MonoTime last_moment{INT64_MAX};
  for (;;) {
    const bool stop = stopping.load(std::memory_order_seq_cst);
    const base::MonoTime now = base::read_clocks().mono;
    if (stop && last_moment.ns == INT64_MAX) last_moment = now + kEndNs;
    open_again();
    if (file ? file->pending() == 0 : console.pending() == 0) {
      say_folded(now);
      gather();
    }
    const bool all = flush();
    if (all) written.store(queue.taken(), std::memory_order_release);  // pairs with settle()
    const bool idle = all && queue.empty() && pending() == 0;
    if (stop && ((idle && !folding.load(std::memory_order_relaxed)) || now >= last_moment)) break;
    if (idle && !stop) {
      // A line that is folded now wakes nobody: it waits for the next look.
      const bool soon = folding.load(std::memory_order_relaxed);
      wake.sleep_unless([this] { return has_work(); }, soon ? kFoldLookNs : kIdleNs);
    }
  }
  ended.store(true, std::memory_order_release);  // pairs with the load in ~Journal()
}

Journal::Journal(int fd) : state_(std::make_shared<State>(fd)) {
  state_->run_id = static_cast<std::uint64_t>(base::read_clocks().wall.us / 1'000'000);
}

std::expected<void, std::string> Journal::configure(const Options& options) {
  MXRING_ASSERT(!thread_.joinable());
  state_->options = options;
  on_ = !options.to.empty();
  accepted_ = options.accepted;
  if (!on_ || options.to == kToConsole) return {};
  state_->file_fd = open_file(options.to);
  if (state_->file_fd < 0) {
    return std::unexpected(fmt::format("journal.to = {}: cannot be opened: {}",
                                       base::escaped(options.to), std::strerror(errno)));
  }
  return {};
}

void Journal::serve() {
  state_->serving.store(on_, std::memory_order_relaxed);
  if (!on_) return;
  const bool to_console = state_->options.to == kToConsole;
  // Somebody may have asked for the file to be opened again by now.
  const std::lock_guard lock(state_->file_mutex);
  crash_report::use_journal(to_console ? STDERR_FILENO : state_->file_fd, state_->options.format,
                            state_->run_id);
}

void Journal::reopen() {
  state_->reopening.store(true, std::memory_order_relaxed);
  state_->wake.wake();
}

void Journal::start() {
  MXRING_ASSERT(!thread_.joinable());
  obs::LineOutput::prepare_interrupts();
  // Signals are other threads' business, but for the one that ends a write.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // ... and those that the thread itself may cause, which are reported.
  for (const int own : {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&all, own);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([state = state_] { state->run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::string_view words(CutOff why) {
  switch (why) {
    case CutOff::kTlsTimeout:
      return "the TLS handshake took too long";
    case CutOff::kTlsFailed:
      return "the TLS handshake failed";
    case CutOff::kTooManyBeforeTls:
      return "too many connections; before TLS nothing can be said";
    case CutOff::kDrainingBeforeTls:
      return "shutting down; before TLS nothing can be said";
    case CutOff::kMemoryBeforeTls:
      return "holds too much memory; before TLS nothing can be said";
    case CutOff::kNotReadingTimeout:
      return "timed out, and it does not read replies";
    case CutOff::kNotReadingMemory:
      return "holds too much memory, and does not read replies";
    case CutOff::kNotReadingDraining:
      return "shutting down, and it does not read replies";
    case CutOff::kCount:
      break;
  }
  return {};
}

smtp::Stage stage_of(CutOff why) {
  switch (why) {
    case CutOff::kTlsTimeout:
    case CutOff::kTlsFailed:
      return smtp::Stage::kStartTls;
    case CutOff::kTooManyBeforeTls:
    case CutOff::kDrainingBeforeTls:
    case CutOff::kMemoryBeforeTls:
      return smtp::Stage::kConnect;
    case CutOff::kNotReadingTimeout:
    case CutOff::kNotReadingMemory:
    case CutOff::kNotReadingDraining:
    case CutOff::kCount:
      break;
  }
  return smtp::Stage::kCommand;
}

Journal::~Journal() {
  if (!thread_.joinable()) start();  // what was said before goes out
  state_->stopping.store(true, std::memory_order_seq_cst);
  state_->wake.wake();
  const base::MonoTime begin = base::read_clocks().mono;
  const base::MonoTime patience = begin + kEndNs + 3 * kReaderMs * base::kNsPerMs;
  while (!state_->ended.load(std::memory_order_acquire)) {  // pairs with the store in run()
    const base::MonoTime now = base::read_clocks().mono;
    if (now >= patience + kInterruptNs) {
      thread_.detach();
      return;
    }
    if (now >= patience) obs::LineOutput::interrupt(thread_.native_handle());
    const timespec nap{0, now - begin < 20 * base::kNsPerMs ? 200'000 : 10 * base::kNsPerMs};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
  }
  thread_.join();
}

void Journal::notice(std::string_view line) noexcept {
  char whole[obs::LineQueue::kLineBytesMax + 1];
  whole[0] = kNoticeLine;
  const std::size_t size = std::min(line.size(), sizeof whole - 1 - kName.size());
  kName.copy(whole + 1, kName.size());
  line.copy(whole + 1 + kName.size(), size);
  state_->queue.push(std::string_view(whole, 1 + kName.size() + size));
  state_->wake.wake();
}

void Journal::text(std::string_view lines) noexcept {
  char whole[obs::LineQueue::kLineBytesMax + 1];
  whole[0] = kTextLine;
  const std::size_t size = lines.copy(whole + 1, sizeof whole - 1);
  state_->queue.push(std::string_view(whole, 1 + size));
  state_->wake.wake();
}

bool Journal::admit(const smtp::Reply& reply, smtp::Stage stage, base::WallTime now) noexcept {
  return admit(key_of(reply.id(), stage), now);
}

bool Journal::admit(CutOff why, base::WallTime now) noexcept {
  return admit(key_of(why), now);
}

bool Journal::admit(std::size_t key, base::WallTime now) noexcept {
  State& state = *state_;
  const std::int64_t second = now.us / 1'000'000;
  std::int64_t window = state.window.load(std::memory_order_relaxed);
  if (window != second &&
      state.window.compare_exchange_strong(window, second, std::memory_order_relaxed)) {
    state.spent.store(0, std::memory_order_relaxed);
  }
  // Looked at first: under a flood nobody writes to this line of the cache any more.
  if (state.spent.load(std::memory_order_relaxed) < state.options.rate &&
      state.spent.fetch_add(1, std::memory_order_relaxed) < state.options.rate) {
    return true;
  }
  fold(key);
  return false;
}

void Journal::fold(std::size_t key) noexcept {
  MXRING_ASSERT(key < kFoldKeys);
  State& state = *state_;
  MXRING_ASSERT(!state.options.to.empty());
  state.folded[key].fetch_add(1, std::memory_order_relaxed);
  if (state.folding.load(std::memory_order_relaxed)) return;
  state.folding.store(true, std::memory_order_relaxed);
  state.wake.wake();
}

void Journal::say(JournalLine& line, const smtp::Reply& reply, smtp::Stage stage) noexcept {
  describe(reply, stage, line);
  push(line, key_of(reply.id(), stage));
}

void Journal::say(JournalLine& line, CutOff why) noexcept {
  describe(why, line);
  push(line, key_of(why));
}

void Journal::say_removed(std::string_view text) noexcept {
  if (!on_) return;
  JournalLine line;
  line.event = JournalEvent::kRemoved;
  line.time = base::read_clocks().wall;
  line.text = text;
  push(line, kFoldKeys);
}

// `key`: what it is folded under where it finds no room; kFoldKeys: it is one of a kind.
void Journal::push(const JournalLine& line, std::size_t key) noexcept {
  char whole[obs::LineQueue::kLineBytesMax];
  whole[0] = kJournalLine;
  const std::size_t size =
      write_line(line, state_->options.format, state_->run_id, std::span<char>(whole).subspan(1));
  const bool may_fold = key < kFoldKeys;
  const bool queued = state_->queue.push(std::string_view(whole, 1 + size), !may_fold);
  if (!queued && may_fold) return fold(key);
  state_->wake.wake();
}

void Journal::settle() const {
  if (!thread_.joinable()) return;
  const base::MonoTime patience = base::read_clocks().mono + kEndNs;
  const std::size_t said = state_->queue.pushed();
  while (state_->written.load(std::memory_order_acquire) < said &&  // pairs with the store in run()
         base::read_clocks().mono < patience) {
    const timespec nap{0, 200'000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
  }
}

std::uint64_t Journal::dropped() const {
  return state_->queue.dropped() + state_->lost.load(std::memory_order_relaxed);
}

}  // namespace mxring::server
