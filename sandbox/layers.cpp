#include "sandbox/layers.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace hone::sandbox {
namespace {

struct Description {
  LayerId id;
  std::string_view name;
  std::string_view help;  ///< where it does not work
};

constexpr Description kLayers[] = {
    {LayerId::kSpareUid, "spare_uid", "give the container CAP_SETUID and CAP_SETGID, or start as an ordinary user"},
    {LayerId::kUserNamespace, "user_namespace",
     "allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
     "kernel.apparmor_restrict_unprivileged_userns=0, "
     "or a container profile that permits unshare and mount)"},
    {LayerId::kMountNamespace, "mount_namespace", "needs user namespaces and a container profile that permits mount"},
    {LayerId::kPidNamespace, "pid_namespace", "needs user namespaces; see sysctl user.max_pid_namespaces"},
    {LayerId::kIpcNamespace, "ipc_namespace", "needs user namespaces; see sysctl user.max_ipc_namespaces"},
    {LayerId::kNetworkNamespace, "network_namespace", "needs user namespaces; see sysctl user.max_net_namespaces"},
    {LayerId::kProc, "proc",
     "needs a container whose /proc is not covered by other mounts (docker: "
     "--security-opt systempaths=unconfined)"},
    {LayerId::kNoNewPrivs, "no_new_privs", "needs Linux 3.5"},
    {LayerId::kCapabilities, "capabilities", "the container forbids capset"},
    {LayerId::kLandlock, "landlock", "needs Linux 5.13 with landlock among the lsm= boot parameters"},
    {LayerId::kLandlockNetwork, "landlock_network", "needs Landlock ABI 4 (Linux 6.7)"},
    {LayerId::kLandlockScope, "landlock_scope", "needs Landlock ABI 6 (Linux 6.12)"},
    {LayerId::kSeccomp, "seccomp", "needs a kernel with CONFIG_SECCOMP_FILTER"},
    {LayerId::kRlimits, "rlimits", "the host's own hard limits are in the way"},
    {LayerId::kPidfd, "pidfd", "needs Linux 5.3"},
    {LayerId::kInterpreter, "python", "install Python 3.9 or newer, or name one"},
};

uint32_t dependents(LayerId layer) {
  constexpr uint32_t kMounts = bit(LayerId::kMountNamespace) | bit(LayerId::kProc);
  switch (layer) {
    case LayerId::kUserNamespace:
      return kMounts | bit(LayerId::kPidNamespace) | bit(LayerId::kIpcNamespace) | bit(LayerId::kNetworkNamespace);
    case LayerId::kPidNamespace:  // a /proc of one's own shows one's own pid namespace
    case LayerId::kMountNamespace:
    case LayerId::kProc:
      return kMounts;
    case LayerId::kLandlock:
      return bit(LayerId::kLandlockNetwork) | bit(LayerId::kLandlockScope);
    case LayerId::kNoNewPrivs:
      return bit(LayerId::kSeccomp) | dependents(LayerId::kLandlock) | bit(LayerId::kLandlock);
    default:
      return 0;
  }
}

}  // namespace

std::string_view name_of(LayerId layer) {
  const auto* found =
      std::find_if(std::begin(kLayers), std::end(kLayers), [&](const auto& d) { return d.id == layer; });
  return found == std::end(kLayers) ? "set-up" : found->name;
}

uint32_t without(uint32_t layers, LayerId layer) {
  return layer == LayerId::kCount ? layers : layers & ~(bit(layer) | dependents(layer));
}

bool needs(LayerId layer, LayerId needed) { return (dependents(needed) & bit(layer)) != 0; }

uint32_t layers_without(const std::vector<std::string>& names) {
  uint32_t layers = bit(LayerId::kCount) - 1;
  for (const auto& name : names) {
    if (name == "cgroup_memory" || name == "cgroup_pids") continue;  // not a worker's; see Jail
    const auto* found =
        std::find_if(std::begin(kLayers), std::end(kLayers), [&](const auto& d) { return d.name == name; });
    if (found == std::end(kLayers)) throw std::invalid_argument(fmt::format("no isolation layer is called '{}'", name));
    layers = without(layers, found->id);
  }
  return layers;
}

std::string remedy(LayerId layer, int error) {
  const auto* found =
      std::find_if(std::begin(kLayers), std::end(kLayers), [&](const auto& d) { return d.id == layer; });
  const std::string_view help = found == std::end(kLayers) ? "" : found->help;
  return fmt::format("{}; {}", std::strerror(error), help);
}

void require_layers(const std::map<std::string, Layer>& found, const std::vector<std::string>& required) {
  std::vector<std::string> known;
  for (const auto& [name, layer] : found) known.push_back(name);
  for (const auto& name : required) {
    const auto it = found.find(name);
    if (it == found.end()) {
      throw std::invalid_argument(
          fmt::format("no isolation layer is called '{}'; there are {}", name, fmt::join(known, ", ")));
    }
    if (!it->second.on) {
      throw std::runtime_error(fmt::format("the required isolation layer {} is off: {}", name, it->second.reason));
    }
  }
}

}  // namespace hone::sandbox
