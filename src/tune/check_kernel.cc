// The kernel, its io_uring, the clock, and what a system call costs.
#include <fmt/format.h>

#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

namespace {

void check_io_uring(const CheckInput& input, std::vector<Row>& rows) {
  const uring::Features& features = input.features;
  Row kernel = make_row("kernel", "kernel",
                        "multishot receive, SINGLE_ISSUER and DEFER_TASKRUN came with 6.0 and 6.1");
  kernel.current = features.kernel;
  kernel.wanted = "6.1 or newer";
  Row ring = make_row("kernel", "io_uring", "the receiver does not start without it");
  ring.wanted = "a ring can be made";
  if (!features.usable) {
    ring.verdict = Verdict::kProblem;
    ring.current = "refused";
    ring.fix = features.problem;
    ring.persist =
        "kernel.io_uring_disabled = 0 in /etc/sysctl.d/60-mxring.conf, or the container's "
        "seccomp profile";
    ring.undo =
        fmt::format("sysctl -w kernel.io_uring_disabled={}, and take the line out of the file",
                    input.host.number("/proc/sys/kernel/io_uring_disabled").value_or(2));
    if (input.features.kernel.empty()) kernel.current = "unknown";
  } else if (!input.measured.ring_problem.empty()) {
    ring.verdict = Verdict::kProblem;
    ring.current = "no ring with a shard's buffers";
    ring.fix = input.measured.ring_problem;
    ring.persist = "LimitMEMLOCK=infinity in the unit, or more memory for the container";
    ring.undo = "take the LimitMEMLOCK line out of the unit";
  } else {
    ring.current = "works";
    if (input.measured.ring_ns > 0) {
      ring.effect = fmt::format("measured: a shard's ring and buffers made in {}",
                                base::format_duration(input.measured.ring_ns));
    }
  }
  rows.push_back(std::move(kernel));
  rows.push_back(std::move(ring));
}

void check_seccomp(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("kernel", "seccomp filter",
                     "a filter runs in front of every system call; many forbid io_uring");
  row.wanted = "none, or one that lets io_uring pass";
  const auto mode = input.host.field("/proc/self/status", "Seccomp");
  if (!mode) {
    skip(row, "/proc/self/status does not say");
  } else if (*mode != "2") {
    row.current = "none";
  } else {
    const auto filters = input.host.field("/proc/self/status", "Seccomp_filters").value_or("some");
    row.current = fmt::format("{} installed, io_uring {}", filters,
                              input.features.usable ? "passes" : "does not pass");
    if (!input.features.usable) {
      row.verdict = Verdict::kProblem;
      row.fix =
          "let io_uring_setup, io_uring_enter and io_uring_register pass (Docker, Podman: "
          "--security-opt seccomp=profile.json with these three)";
      row.persist =
          "security_opt: in the compose file, or SystemCallFilter=io_uring_setup io_uring_enter "
          "io_uring_register in the unit";
      row.undo = "take that line out";
    }
  }
  rows.push_back(std::move(row));
}

void check_clock(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("kernel", "clock source",
                     "each loop turn reads the clocks; a source the process cannot read by itself "
                     "makes that a slow system call");
  row.wanted = "tsc, kvm-clock or arch_sys_counter";
  const std::string folder = "/sys/devices/system/clocksource/clocksource0/";
  const FileText current = input.host.read(folder + "current_clocksource");
  if (!current.ok()) {
    skip(row, current.problem);
  } else {
    row.current = current.text;
    const bool fast = current.text == "tsc" || current.text == "arch_sys_counter" ||
                      current.text == "kvm-clock" || current.text.starts_with("hyperv_clocksource");
    if (!fast) {
      row.verdict = Verdict::kAdvice;
      const std::string available = input.host.text(folder + "available_clocksource").value_or("");
      const bool has_tsc = available.find("tsc") != std::string::npos;
      row.fix = has_tsc ? fmt::format("echo tsc > {}current_clocksource", folder)
                        : "the kernel offers no faster one here: " + available;
      row.persist = has_tsc ? "clocksource=tsc on the kernel's command line" : "-";
      row.undo = fmt::format("echo {} > {}current_clocksource", current.text, folder);
    }
  }
  if (input.measured.clock_ns > 0) {
    row.effect = fmt::format("measured: {} ns a reading; a fast source takes 15 to 40",
                             input.measured.clock_ns);
  }
  rows.push_back(std::move(row));

  Row synchronised = make_row("kernel", "time of day",
                              "DKIM expiry, DNS lifetimes and record times need the right time");
  synchronised.wanted = "synchronised";
  synchronised.current = input.measured.clock_synchronised ? "synchronised" : "not synchronised";
  if (!input.measured.clock_synchronised) {
    synchronised.verdict = Verdict::kAdvice;
    synchronised.fix =
        "apt-get install chrony; in a virtual machine whose host sets the clock "
        "nothing needs to be done";
    synchronised.persist = "systemctl enable --now chrony";
    synchronised.undo = "apt-get remove chrony";
    synchronised.effect = "not measured: no reference to compare with";
  }
  rows.push_back(std::move(synchronised));
}

void check_system_calls(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("kernel", "cost of a system call",
                     "mitigations, seccomp and auditing are paid at every entry to the kernel");
  row.wanted = "below 300 ns";
  if (input.measured.system_call_ns == 0) {
    skip(row, "not measured");
  } else {
    constexpr std::int64_t kSlowNs = 300;
    row.current = fmt::format("{} ns", input.measured.system_call_ns);
    row.effect = "measured: an empty one; a message costs mxring two or fewer";
    if (input.measured.system_call_ns >= kSlowNs) {
      row.verdict = Verdict::kAdvice;
      std::string mitigated;
      const std::string folder = "/sys/devices/system/cpu/vulnerabilities";
      for (const std::string& name : input.host.names(folder)) {
        const auto state = input.host.text(folder + "/" + name);
        if (state && state->starts_with("Mitigation")) mitigated += " " + name;
      }
      row.fix = fmt::format(
          "look at the mitigations in force ({}) and at auditd; turning a "
          "mitigation off is a decision about security, not only about speed",
          mitigated.empty() ? " none named" : mitigated);
      row.persist = "mitigations= in GRUB_CMDLINE_LINUX of /etc/default/grub, then update-grub";
      row.undo = "take mitigations= out there, then update-grub";
    }
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_kernel(const CheckInput& input, std::vector<Row>& rows) {
  check_io_uring(input, rows);
  check_seccomp(input, rows);
  check_clock(input, rows);
  check_system_calls(input, rows);
}

}  // namespace mxring::tune
