// What a confined process cannot do, tried from inside: each case forks, confines the child as the
// server does, and lets it try. Without Landlock or seccomp in the kernel the case is skipped.
#include "server/confinement.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>

#include "server/system_calls.h"

namespace mxring::server {
namespace {

namespace fs = std::filesystem;

class ConfinementTest : public testing::Test {
 protected:
  ConfinementTest() {
    std::string name = testing::TempDir() + "/mxring-confinement-XXXXXX";
    root_ = ::mkdtemp(name.data());
    for (const char* folder : {"log", "tls", "live", "archive", "conf", "outside"}) {
      fs::create_directory(root_ / folder);
    }
    for (const char* file :
         {"archive/key1.pem", "tls/chain.pem", "conf/mxring.toml", "outside/secret"}) {
      std::ofstream(root_ / file) << file;
    }
    // As certbot lays them out: a link in one folder to a file in another.
    fs::create_symlink("../archive/key1.pem", root_ / "live/key.pem");
    config_.log.dir = root_ / "log";
    config_.tls.certificate = root_ / "tls/chain.pem";
    config_.tls.key = root_ / "live/key.pem";
    config_.file = root_ / "conf/mxring.toml";
  }
  ~ConfinementTest() override { fs::remove_all(root_); }

  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers are not confined";
    if (landlock_abi() == 0) GTEST_SKIP() << "this kernel has no Landlock";
  }

  // What `act` returns in a confined child; -1 when the child did not get that far.
  int inside(const std::function<int()>& act) {
    const pid_t child = ::fork();
    if (child == 0) {
      Confinement confinement(config_, [](const std::string&) {});
      if (!confinement.prepare() || !confinement.before_log()) ::_exit(99);
      confinement.after_start();
      ::_exit(act());
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 99 ? WEXITSTATUS(status) : -1;
  }
  // The errno of opening it inside, 0 when it opens.
  int opening(const fs::path& file, int flags = O_RDONLY) {
    return inside([&] { return ::open(file.c_str(), flags | O_CLOEXEC, 0600) < 0 ? errno : 0; });
  }
  // The errno of a raw system call inside, 0 when it succeeds.
  template <class... Arguments>
  int calling(long number, Arguments... arguments) {
    return inside([=] { return ::syscall(number, arguments...) < 0 ? errno : 0; });
  }

  fs::path root_;
  Config config_;
};

TEST_F(ConfinementTest, ItsOwnFoldersStayOpen) {
  EXPECT_EQ(opening(root_ / "log/new.seg", O_RDWR | O_CREAT), 0);
  EXPECT_EQ(opening(root_ / "log"), 0);
  EXPECT_EQ(opening(root_ / "tls/chain.pem"), 0);
  EXPECT_EQ(opening(root_ / "live/key.pem"), 0);
  EXPECT_EQ(opening(root_ / "conf/mxring.toml"), 0);
  EXPECT_EQ(opening("/dev/urandom"), 0);
  EXPECT_EQ(inside([&] {
              const int fd = ::open((root_ / "log/a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
              return fd >= 0 && ::ftruncate(fd, 4096) == 0 && ::fsync(fd) == 0 &&
                             ::rename((root_ / "log/a").c_str(), (root_ / "log/b").c_str()) == 0 &&
                             ::unlink((root_ / "log/b").c_str()) == 0
                         ? 0
                         : errno;
            }),
            0);
}

// Renewed means: a new file beside the old one, and the link now names it.
TEST_F(ConfinementTest, ARenewedFileIsFoundAgain) {
  int ready[2];
  int renewed[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(renewed), 0);
  std::thread renewer([&] {
    char byte = 0;
    if (::read(ready[0], &byte, 1) != 1) return;
    std::ofstream(root_ / "archive/key2.pem") << "new";
    fs::remove(root_ / "live/key.pem");
    fs::create_symlink("../archive/key2.pem", root_ / "live/key.pem");
    fs::rename(root_ / "tls/chain.pem", root_ / "tls/chain.old");
    std::ofstream(root_ / "tls/chain.pem") << "new";
    [[maybe_unused]] const ssize_t told = ::write(renewed[1], "r", 1);
  });
  const int result = inside([&] {
    char byte = 'r';
    if (::write(ready[1], &byte, 1) != 1 || ::read(renewed[0], &byte, 1) != 1) return 90;
    for (const char* file : {"live/key.pem", "tls/chain.pem"}) {
      if (::open((root_ / file).c_str(), O_RDONLY | O_CLOEXEC) < 0) return errno;
    }
    return 0;
  });
  if (result < 0) [[maybe_unused]]
    const ssize_t told = ::write(ready[1], "e", 1);
  renewer.join();
  EXPECT_EQ(result, 0);
  for (const int fd : {ready[0], ready[1], renewed[0], renewed[1]}) ::close(fd);
}

TEST_F(ConfinementTest, EverythingElseIsRefused) {
  EXPECT_EQ(opening(root_ / "outside/secret"), EACCES);
  EXPECT_EQ(opening("/etc/shadow"), EACCES);
  EXPECT_EQ(opening("/etc"), EACCES);
  EXPECT_EQ(opening("/"), EACCES);
  EXPECT_EQ(opening("/bin/sh"), EACCES);
  EXPECT_EQ(opening(root_ / "outside/new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(opening(root_ / "tls/new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(opening(root_ / "tls/chain.pem", O_WRONLY), EACCES);
  EXPECT_EQ(opening(config_.file, O_RDWR), EACCES);
  EXPECT_EQ(opening("/proc/1/environ"), EACCES);
  // A way around by the log's folder.
  fs::create_symlink(root_ / "outside/secret", root_ / "log/link");
  EXPECT_EQ(opening(root_ / "log/link"), EACCES);
  EXPECT_NE(inside([&] {
              return ::link((root_ / "outside/secret").c_str(), (root_ / "log/hard").c_str()) != 0
                         ? errno
                         : 0;
            }),
            0);
  EXPECT_NE(inside([&] {
              return ::rename((root_ / "log/link").c_str(), (root_ / "outside/x").c_str()) != 0
                         ? errno
                         : 0;
            }),
            0);
}

TEST_F(ConfinementTest, NoProgramIsStarted) {
  EXPECT_EQ(inside([] {
              char name[] = "/bin/true";
              char* arguments[] = {name, nullptr};
              ::execve(name, arguments, nullptr);
              return errno;
            }),
            EPERM);
  EXPECT_EQ(inside([] { return ::fork() < 0 ? errno : 0; }), EPERM);
  EXPECT_EQ(calling(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_clone3, nullptr, 0), ENOSYS);
}

TEST_F(ConfinementTest, NoOtherProcessIsReached) {
  EXPECT_EQ(calling(SYS_ptrace, PTRACE_ATTACH, ::getppid(), 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_process_vm_readv, ::getppid(), nullptr, 0, nullptr, 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_kill, ::getppid(), 0), EPERM);
  EXPECT_EQ(calling(SYS_tgkill, ::getppid(), ::getppid(), 0), EPERM);
  EXPECT_EQ(calling(SYS_pidfd_open, ::getppid(), 0), EPERM);
}

TEST_F(ConfinementTest, NoMemoryBecomesExecutable) {
  EXPECT_EQ(inside([] {
              void* page =
                  ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              if (page == MAP_FAILED) return 91;
              return ::mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 ? 0 : errno;
            }),
            EPERM);
  EXPECT_EQ(inside([] {
              return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
                         ? errno
                         : 0;
            }),
            EPERM);
}

TEST_F(ConfinementTest, NoWayBack) {
  io_uring_params parameters{};
  EXPECT_EQ(calling(SYS_setuid, 0), EPERM);
  EXPECT_EQ(calling(SYS_setresuid, 0, 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_capset, nullptr, nullptr), EPERM);
  EXPECT_EQ(calling(SYS_unshare, 0x10000000), EPERM);  // CLONE_NEWUSER
  EXPECT_EQ(calling(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr), EPERM);
  EXPECT_EQ(calling(SYS_chroot, "/"), EPERM);
  EXPECT_EQ(calling(SYS_bpf, 0, nullptr, 0), EPERM);
  EXPECT_EQ(calling(SYS_keyctl, 0, 0, 0, 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_perf_event_open, nullptr, 0, 0, 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_memfd_create, "x", 0), EPERM);
  EXPECT_EQ(calling(SYS_io_uring_setup, 8, &parameters), EPERM) << "a ring without restrictions";
  EXPECT_EQ(calling(SYS_prlimit64, 0, 7, &parameters, nullptr), EPERM) << "a limit is set";
  EXPECT_EQ(calling(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0), EPERM);
  EXPECT_EQ(calling(SYS_seccomp, 1, 0, nullptr), EPERM);
  EXPECT_EQ(calling(SYS_ioctl, 0, 0x5412, "x"), EPERM) << "TIOCSTI: typing into our terminal";
}

TEST_F(ConfinementTest, SocketsForMailAndNamesOnly) {
  EXPECT_EQ(calling(SYS_socket, AF_INET, SOCK_DGRAM, 0), 0);
  EXPECT_EQ(calling(SYS_socket, AF_NETLINK, SOCK_RAW, 0), EPERM);
  EXPECT_EQ(calling(SYS_socket, AF_PACKET, SOCK_RAW, 0), EPERM);
  EXPECT_EQ(calling(SYS_socket, AF_VSOCK, SOCK_STREAM, 0), EPERM);
  if (landlock_abi() < 4) GTEST_SKIP() << "this kernel's Landlock does not know TCP";
  const auto connecting = [this](std::uint16_t port) {
    return inside([port] {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      return ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
    });
  };
  config_.dns.servers = {*base::Endpoint::parse("127.0.0.1:5301")};
  EXPECT_EQ(connecting(25), EACCES);
  EXPECT_NE(connecting(5301), EACCES) << "the resolver's";
  EXPECT_EQ(inside([] {
              const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
              sockaddr_in at{};
              at.sin_family = AF_INET;
              at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              return ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 ? 0 : errno;
            }),
            EACCES);
}

// Threads that exist when the filter is installed have it too.
TEST_F(ConfinementTest, EveryThreadHasIt) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::atomic<int> step{0};
    std::atomic<int> error{0};
    std::thread other([&] {
      while (step.load() == 0) ::sched_yield();
      error = ::syscall(SYS_kill, ::getppid(), 0) < 0 ? errno : 0;
      step = 2;
    });
    other.detach();
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!confine_system_calls()) ::_exit(99);
    step = 1;
    while (step.load() != 2) ::sched_yield();
    // New ones can be made, and have it from the start.
    std::thread late([&] {
      if (::syscall(SYS_kill, ::getppid(), 0) == 0) error = 0;
    });
    late.join();
    ::_exit(error.load());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), EPERM);
}

TEST_F(ConfinementTest, RootBecomesTheUserForGood) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  config_.user = "nobody";
  const auto nobody = find_user("nobody");
  ASSERT_TRUE(nobody);
  EXPECT_EQ(inside([] { return 0; }), -1) << "a log that is root's";
  ASSERT_EQ(::chown((root_ / "log").c_str(), nobody->uid, nobody->gid), 0);
  ASSERT_EQ(::chmod(root_.c_str(), 0755), 0);
  EXPECT_EQ(inside([&] { return ::getuid() == nobody->uid && ::getegid() == nobody->gid ? 0 : 1; }),
            0);
  ASSERT_EQ(::chmod((root_ / "tls/chain.pem").c_str(), 0600), 0);
  EXPECT_EQ(opening(root_ / "tls/chain.pem"), EACCES);
  const auto faults = check_access_of_user(config_);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_NE(faults[0].find("tls/chain.pem (tls.certificate): user \"nobody\" may not read it"),
            std::string::npos)
      << faults[0];
  EXPECT_FALSE(find_user("no-such-account-here"));
}

TEST(ConfinementTableTest, EveryRowHasAReason) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const SystemCallRule& rule : system_call_rules()) {
    EXPECT_FALSE(rule.reason.empty()) << rule.name;
    for (const std::string_view never : {"execve", "execveat", "ptrace", "fork", "vfork", "clone3",
                                         "io_uring_setup", "kill", "mount", "bpf", "setuid"}) {
      EXPECT_NE(rule.name, never);
    }
  }
  for (const PathRule& rule : path_rules(Config{})) EXPECT_FALSE(rule.reason.empty()) << rule.path;
}

TEST(ConfinementTableTest, FoldersOfLinks) {
  std::string name = testing::TempDir() + "/mxring-folders-XXXXXX";
  const fs::path root = fs::canonical(::mkdtemp(name.data()));
  for (const char* folder : {"a", "b", "c"}) fs::create_directory(root / folder);
  std::ofstream(root / "c/file") << "x";
  fs::create_symlink("../c/file", root / "b/link");
  fs::create_symlink(root / "b/link", root / "a/link");
  const auto folders = folders_of(root / "a/link");
  const std::set<std::string> all(folders.begin(), folders.end());
  for (const char* folder : {"a", "c"}) EXPECT_TRUE(all.contains(root / folder)) << folder;
  EXPECT_TRUE(all.contains(root / "b"));
  EXPECT_TRUE(folders_of("/file").empty()) << "the whole file system is no confinement";
  fs::create_symlink("loop", root / "loop");
  EXPECT_LE(folders_of(root / "loop").size(), 41U);
  fs::remove_all(root);
}

}  // namespace
}  // namespace mxring::server
