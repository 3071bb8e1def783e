// A listening Unix socket with a name in the file system, for programs on this host only: 0600, so
// that its owner alone may connect. A name left behind by a program that is gone is taken over; one
// that somebody still listens at, or that is no socket, is not. The name goes with the listener.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <expected>
#include <string>

#include "net/listener.h"

namespace mxring::net {

// The address of a socket's name, also of one longer than the 107 bytes that an address has room
// for: then by way of its folder, which stays open as long as this.
class UnixName {
 public:
  static std::expected<UnixName, int> of(const std::string& path);  // errno
  UnixName(UnixName&& other) noexcept;
  UnixName& operator=(UnixName&& other) = delete;
  ~UnixName();

  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&name_); }
  static constexpr socklen_t size() { return sizeof(sockaddr_un); }

 private:
  UnixName() = default;
  sockaddr_un name_{};
  int folder_fd_ = -1;
};

class UnixListener {
 public:
  static std::expected<UnixListener, ListenError> open(const std::string& path);
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&& other) noexcept;
  ~UnixListener();

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  UnixListener() = default;
  int fd_ = -1;
  std::string path_;
  // Of the name we made: another program may have put its own in place since.
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace mxring::net
