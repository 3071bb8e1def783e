#include "server/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.h"

namespace mxring::server {

namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

// Puts lines together that straddle two pieces.
class Lines {
 public:
  Lines(std::size_t line_bytes_max, const LineTaker& take)
      : room_(line_bytes_max + 1), take_(take) {}

  std::expected<void, FileError> piece(std::string_view bytes) {
    for (std::size_t end = bytes.find('\n'); end != std::string_view::npos;
         end = bytes.find('\n')) {
      if (auto taken = finish(bytes.substr(0, end)); !taken) return taken;
      bytes.remove_prefix(end + 1);
    }
    begun_ = begun_ || !bytes.empty();
    keep(bytes);
    return {};
  }

  std::expected<void, FileError> end() { return begun_ ? finish({}) : FileResult{}; }

 private:
  using FileResult = std::expected<void, FileError>;

  void keep(std::string_view bytes) {
    MXRING_ASSERT(line_.size() <= room_);
    line_.append(bytes.substr(0, room_ - std::min(room_, line_.size())));
  }

  FileResult finish(std::string_view rest) {
    FileResult taken;
    if (line_.empty()) {
      taken = take_(rest.substr(0, room_));
    } else {
      keep(rest);
      taken = take_(line_);
      line_.clear();
    }
    begun_ = false;
    return taken;
  }

  std::size_t room_;
  const LineTaker& take_;
  std::string line_;
  bool begun_ = false;  // bytes have come since the last line end
};

std::expected<void, FileError> read_all(int fd, Lines& lines) {
  std::string piece(kPieceBytes, '\0');
  for (;;) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return std::unexpected(FileError{0, fmt::format("cannot be read: {}", std::strerror(errno))});
    }
    if (got == 0) return lines.end();
    MXRING_ASSERT(static_cast<std::size_t>(got) <= piece.size());
    const std::string_view bytes(piece.data(), static_cast<std::size_t>(got));
    if (auto taken = lines.piece(bytes); !taken) return taken;
  }
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

}  // namespace

std::expected<void, FileError> for_each_line(const std::string& path, std::size_t line_bytes_max,
                                             const LineTaker& take) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return std::unexpected(FileError{0, fmt::format("cannot be opened: {}", std::strerror(errno))});
  }
  struct stat facts {};
  std::expected<void, FileError> result;
  if (::fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    result = std::unexpected(FileError{0, "is no regular file"});
  } else {
    Lines lines(line_bytes_max, take);
    result = read_all(fd, lines);
  }
  ::close(fd);
  return result;
}

std::string_view without_comment(std::string_view line) {
  for (std::size_t at = line.find('#'); at != std::string_view::npos; at = line.find('#', at + 1)) {
    if (at != 0 && !is_blank(line[at - 1])) continue;
    line = line.substr(0, at);
    break;
  }
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  return line;
}

}  // namespace mxring::server
