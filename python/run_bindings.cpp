// rl/run.h, rl/host.h, cli/command_line.h: a whole run with Python functions in it.
#include "rl/run.h"

#include <ATen/Parallel.h>
#include <csignal>
#include <sstream>

#include "cli/command_line.h"
#include "cli/input.h"
#include "models/kernels/thread_pool.h"
#include "python/options.h"
#include "python/python_call.h"
#include "rl/recipe.h"

namespace hone::python {
namespace {

/// The parts of a Host that are Python objects; None where there is none.
struct PythonHost {
  py::object reward, filter, stage, loss, on_step;
};

std::vector<std::vector<Score>> scores_of(const std::vector<std::vector<std::optional<double>>>& values) {
  std::vector<std::vector<Score>> scores;
  for (const auto& row : values) {
    auto& out = scores.emplace_back();
    for (const auto& value : row) out.push_back(score_of(value));
  }
  return scores;
}

std::function<NamedReward(const std::string&)> rewards_of(PythonThread& thread,
                                                          const std::shared_ptr<py::object>& find) {
  return [&thread, find](const std::string& function) {
    return thread.call([&] {
      const auto [name, call] = (*find)(function).cast<std::pair<std::string, py::object>>();
      NamedReward reward{.name = name};
      reward.batch = [&thread, call = shared_callable(call)](std::span<const Group> groups) {
        return thread.call([&] {
          return scores_of((*call)(std::vector<Group>(groups.begin(), groups.end()))
                               .template cast<std::vector<std::vector<std::optional<double>>>>());
        });
      };
      return reward;
    });
  };
}

Row row_of(const py::handle& value) { return Row::parse(to_json(value)); }

py::list rows_of(const std::vector<Row>& rows) {
  py::list out;
  for (const Row& row : rows) out.append(from_json(row.dump()));
  return out;
}

/// True keeps the row, a dict takes its place, all else drops it.
auto filter_of(PythonThread& thread, const std::shared_ptr<py::object>& find) {
  return [&thread, find](const std::string& function) {
    auto call = thread.call([&] { return shared_callable((*find)(function)); });
    return [&thread, call, function](const Row& row) {
      return thread.call([&]() -> std::optional<Row> {
        const py::object kept = (*call)(from_json(row.dump()));
        if (py::isinstance<py::dict>(kept)) return row_of(kept);
        if (kept.is_none()) return std::nullopt;
        if (!py::hasattr(kept, "__bool__")) {
          throw std::invalid_argument(fmt::format("python:{} returned {}; a filter returns True, False, None or a dict",
                                                  function, py::repr(kept).cast<std::string>()));
        }
        return py::cast<bool>(py::bool_(kept)) ? std::optional<Row>(row) : std::nullopt;
      });
    };
  };
}

auto stage_of(PythonThread& thread, const std::shared_ptr<py::object>& find) {
  return [&thread, find](const std::string& function, const std::vector<std::vector<Row>>& data) {
    return thread.call([&] {
      py::list sets;
      for (const auto& rows : data) sets.append(rows_of(rows));
      const auto [rows, metrics] = (*find)(function, sets).cast<std::pair<py::list, std::map<std::string, double>>>();
      std::vector<Row> out;
      for (const auto& row : rows) out.push_back(row_of(row));
      return std::pair{out, metrics};
    });
  };
}

/// On the thread that computes the part: the graph goes on from there.
PolicyLoss loss_of(const std::shared_ptr<py::object>& loss) {
  return [loss](const LossInput& in) {
    return with_gil([&] {
      py::dict k;
      k["policy_logprobs"] = in.policy_logprobs;
      k["sampler_logprobs"] = in.sampler_logprobs;
      k["advantages"] = in.advantages;
      k["weights"] = in.weights;
      k["sequence"] = in.sequence;
      k["ref_logprobs"] = in.ref_logprobs.defined() ? py::cast(in.ref_logprobs) : py::none();
      const py::object value = (*loss)(**k);
      at::Tensor out;
      try {
        out = value.cast<at::Tensor>();
      } catch (const py::cast_error&) {
      }
      if (!out.defined() || out.dim() != 0 || !out.requires_grad())
        throw py::value_error(
            fmt::format("the loss function returned {}; return a scalar tensor made from policy_logprobs",
                        py::repr(value).cast<std::string>()));
      return LossOutput{.loss = out};
    });
  };
}

/// REQUIRES: the GIL.
Host host_of(PythonThread& thread, const PythonHost& own) {
  Host host{.stop = thread.stop()};
  if (!own.reward.is_none()) host.reward = rewards_of(thread, shared_callable(own.reward));
  if (!own.filter.is_none()) host.filter = filter_of(thread, shared_callable(own.filter));
  if (!own.stage.is_none()) host.stage = stage_of(thread, shared_callable(own.stage));
  if (!own.loss.is_none()) host.loss = loss_of(shared_callable(own.loss));
  if (!own.on_step.is_none()) {
    host.on_step = [&thread, call = shared_callable(own.on_step)](const std::string& stage, int64_t step,
                                                                  int64_t max_steps, const auto& metrics) {
      if (thread.call([&] { return py::cast<bool>((*call)(stage, step, max_steps, metrics)); })) thread.request_stop();
    };
  }
  return host;
}

/// ATen's threads as they were before; a run computes with its own.
class AtenThreads {
 public:
  ~AtenThreads() { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

/// False when the run was stopped by request (its progress is kept).
bool run(const std::string& recipe_text, const std::filesystem::path& run_dir, bool resume, int threads,
         const PythonHost& own) {
  const Recipe recipe = parse_recipe(recipe_text, "recipe");
  std::ostringstream shown;  // progress is Python's
  PythonThread thread;
  const AtenThreads restore;
  const Host host = host_of(thread, own);
  bool stopped = false;
  thread.run([&] {
    use({.threads = threads});
    try {
      run_recipe(recipe,
                 {.recipe_dir = std::filesystem::current_path(),
                  .run_dir = run_dir,
                  .resume = resume,
                  .threads = kernel_pool().threads(),
                  .host = host},
                 known_tasks(), shown);
    } catch (const PythonError&) {
      throw;
    } catch (const Interrupted&) {
      stopped = true;
    }
  });
  return !stopped;
}

int command_line(std::vector<std::string> args, const PythonHost& own) {
  PythonThread thread;
  int status = 0;
  const Host host = host_of(thread, own);
  std::vector<char*> argv;
  for (auto& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  std::signal(SIGINT, SIG_DFL);  // ends the process, as it ends `hone`; a run goes on with --resume
  thread.run([&] { status = run_command_line(static_cast<int>(args.size()), argv.data(), host); });
  return status;
}

}  // namespace

void bind_run(py::module_& m) {
  m.def(
      "run_recipe",
      [](const std::string& recipe, const std::filesystem::path& run_dir, bool resume, int threads, py::object reward,
         py::object filter, py::object stage, py::object loss, py::object on_step) {
        return run(recipe, run_dir, resume, threads, {reward, filter, stage, loss, on_step});
      },
      py::arg("recipe"), py::arg("run_dir"), py::arg("resume") = false, py::arg("threads") = 0,
      py::arg("reward") = py::none(), py::arg("filter") = py::none(), py::arg("stage") = py::none(),
      py::arg("loss") = py::none(), py::arg("on_step") = py::none(),
      "Runs a recipe (YAML or JSON text) as `hone train` does, with Python functions in it; see rl/host.h:\n"
      "reward(function) -> (name, f), f(groups) -> (P)(G) float or None; filter(function) -> f(row) -> bool or row;\n"
      "stage(function, data) -> (rows, metrics); loss(policy_logprobs, ..) -> scalar tensor; on_step(stage, step,\n"
      "max_steps, metrics) -> whether to stop. All but the loss are called on this thread. False when on_step stopped\n"
      "the run. Raises ValueError for what is wrong with recipe or directory, RuntimeError when a stage fails,\n"
      "KeyboardInterrupt on Ctrl-C; progress is then kept and resume=True goes on.");
  m.def(
      "run_command_line",
      [](std::vector<std::string> args, py::object reward, py::object filter, py::object stage) {
        return command_line(std::move(args), {reward, filter, stage, py::none(), py::none()});
      },
      py::arg("args"), py::arg("reward"), py::arg("filter"), py::arg("stage"),
      "`hone ARGS..` (args[0] is the program's name); returns its exit code.");
  m.def(
      "parse_recipe",
      [](const std::string& text, const std::string& origin) { return to_yaml(parse_recipe(text, origin)); },
      py::arg("text"), py::arg("origin") = "recipe",
      "The recipe with every key resolved, as YAML. Raises ValueError naming place, key and what is allowed.");
}

}  // namespace hone::python
