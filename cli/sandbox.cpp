// hone sandbox [--jobs N] [--cases FILE|-]: see cli/sandbox.h and design section 3.1.
#include "cli/sandbox.h"

#include <condition_variable>
#include <deque>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "sandbox/sandbox.h"

namespace hone {
namespace {

using nlohmann::json;
using namespace sandbox;

std::string text_of(const json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return "";
  if (!found->is_string()) throw std::invalid_argument(fmt::format("'{}' is not a string", key));
  return found->get<std::string>();
}

template <class Number>
void read_number(const json& value, const std::string& key, Number& out) {
  if (!value.is_number() || value.get<double>() <= 0) {
    throw std::invalid_argument(fmt::format("limit '{}' is not a number above 0", key));
  }
  out = value.get<Number>();
}

void read_limit(const std::string& key, const json& value, Limits& limits) {
  const auto number = [&](auto& out) { read_number(value, key, out); };
  if (key == "wall" || key == "wall_s") number(limits.wall_s);
  else if (key == "cpu" || key == "cpu_s") number(limits.cpu_s);
  else if (key == "mem" || key == "memory_mib") number(limits.memory_mib);
  else if (key == "output" || key == "output_bytes") number(limits.output_bytes);
  else if (key == "procs" || key == "processes") number(limits.processes);
  else if (key == "fsize" || key == "file_mib") number(limits.file_mib);
  else if (key == "fds" || key == "open_files") number(limits.open_files);
  else if (key == "tmpfs" || key == "tmpfs_mib") number(limits.tmpfs_mib);
  else if (key == "inodes" || key == "tmpfs_inodes") number(limits.tmpfs_inodes);
  else if (key == "compile" || key == "compile_s") number(limits.compile_s);
  else if (key == "compile_mem" || key == "compile_mib") number(limits.compile_mib);
  else
    throw std::invalid_argument(
        fmt::format("no limit is called '{}'; there are wall, cpu, mem, output, procs, fsize, "
                    "fds, tmpfs, inodes, compile, compile_mem",
                    key));
}

std::string stdin_of(const json& row) {
  const auto repeat = row.find("stdin_repeat");
  if (repeat == row.end() || repeat->is_null()) return text_of(row, "stdin");
  if (!repeat->is_array() || repeat->size() != 2 || !(*repeat)[0].is_string() || !(*repeat)[1].is_number_unsigned()) {
    throw std::invalid_argument("'stdin_repeat' is not [text, count]");
  }
  const auto piece = (*repeat)[0].get<std::string>();
  const auto count = (*repeat)[1].get<size_t>();
  if (piece.size() * count > (size_t{1} << 30)) throw std::invalid_argument("'stdin_repeat' is more than 1 GiB");
  std::string text;
  text.reserve(piece.size() * count);
  for (size_t i = 0; i < count; ++i) text += piece;
  return text;
}

template <class Value>
Value word_of(const json& row, const char* key, std::initializer_list<std::pair<const char*, Value>> words) {
  const std::string text = text_of(row, key);
  if (text.empty()) return words.begin()->second;
  for (const auto& [word, value] : words) {
    if (text == word) return value;
  }
  throw std::invalid_argument(
      fmt::format("'{}' is '{}'; it may be '{}' or '{}'", key, text, words.begin()->first, (words.end() - 1)->first));
}

Job job_of(const json& row) {
  Job job;
  job.language = word_of<Language>(row, "language", {{"python", Language::kPython}, {"cpp", Language::kCpp}});
  job.mode = word_of<Mode>(row, "mode", {{"script", Mode::kScript}, {"function", Mode::kFunction}});
  if (!row.contains("program")) throw std::invalid_argument("has no 'program'");
  job.program = text_of(row, "program");
  job.stdin_text = stdin_of(row);
  job.prompt = text_of(row, "prompt");
  job.test = text_of(row, "test");
  job.entry_point = text_of(row, "entry_point");
  if (const auto limits = row.find("limits"); limits != row.end() && limits->is_object()) {
    for (const auto& [key, value] : limits->items()) read_limit(key, value, job.limits);
  }
  return job;
}

/// A row: the jobs that come before, whose results nobody wants, and its own.
struct Case {
  json id;
  std::vector<Job> preludes;
  Job job;
};

Case case_of(const json& row) {
  if (!row.is_object()) throw std::invalid_argument("is not a JSON object");
  Case result{row.value("id", json()), {}, job_of(row)};
  for (const auto& text : row.value("prelude", json::array())) {
    if (!text.is_string()) throw std::invalid_argument("'prelude' is not a list of programs");
    result.preludes.push_back({.program = text.get<std::string>(), .limits = result.job.limits});
  }
  for (int i = row.value("prelude_function", 0); i > 0; --i) {  // the same tests, with an answer of our own
    Job job = result.job;
    job.mode = Mode::kFunction;
    job.program = fmt::format("def {}(a, b):\n    return a + b\n", job.entry_point);
    result.preludes.push_back(std::move(job));
  }
  return result;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      text += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
    }
  }
  return text;
}

/// As JSON, each byte that is not UTF-8 as U+FFFD; then the bytes themselves are given as well.
void put_text(json& row, const std::string& key, const std::string& text) {
  row[key] = text;
  try {
    (void)json(text).dump();
  } catch (const json::exception&) {
    row[key + "_base64"] = base64(text);
  }
}

std::string line_of(const json& id, const Result& result) {
  json row{{"id", id}, {"verdict", name_of(result.verdict)}, {"exit_code", nullptr}, {"signal", nullptr}};
  if (result.exit_code) row["exit_code"] = *result.exit_code;
  if (result.signal) row["signal"] = *result.signal;
  put_text(row, "stdout", result.stdout_text);
  put_text(row, "stderr", result.stderr_text);
  row["wall_ms"] = result.wall_ms;
  row["cpu_ms"] = result.cpu_ms;
  row["peak_mb"] = result.peak_mb;
  row["reason"] = result.reason;
  return row.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Rows are taken as they come, `jobs` at a time, and written as they end. Reading waits while all are busy.
class Rows {
 public:
  Rows(Pool& pool, std::ostream& out) : pool_(pool), out_(out) {
    for (int i = 0; i < pool.jobs(); ++i) threads_.emplace_back([this] { work(); });
  }
  ~Rows() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  void add(Case row) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_.size() < threads_.size(); });
    waiting_.push_back(std::move(row));
    changed_.notify_all();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      Case row = std::move(waiting_.front());
      waiting_.pop_front();
      changed_.notify_all();
      lock.unlock();
      for (Job& job : row.preludes) pool_.run(std::move(job));
      const std::string line = line_of(row.id, pool_.run(std::move(row.job)));
      lock.lock();
      out_ << line << '\n' << std::flush;
    }
  }

  Pool& pool_;
  std::ostream& out_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Case> waiting_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

Case read_case(const std::string& line, const std::string& source, size_t number) {
  try {
    return case_of(json::parse(line));
  } catch (const json::exception& error) {
    throw std::invalid_argument(fmt::format("{}:{}: not a row of JSON: {}", source, number, error.what()));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(fmt::format("{}:{}: {}", source, number, error.what()));
  }
}

int print_capabilities(const PoolOptions& options) {
  json all;
  const Pool pool(options);
  for (const auto& [name, layer] : pool.layers()) all[name] = {{"on", layer.on}, {"reason", layer.reason}};
  std::cout << all.dump(2) << std::endl;
  return 0;
}

}  // namespace

int sandbox_verb(const SandboxArgs& args) {
  PoolOptions options{.jobs = args.capabilities ? 1 : args.jobs, .require = args.require, .without = args.without};
  if (!args.python.empty()) options.python = args.python;
  if (!args.compiler.empty()) options.compiler = args.compiler;
  if (args.capabilities) return print_capabilities(options);
  std::ifstream file;
  if (args.cases != "-") file.open(args.cases);
  if (!file) throw std::invalid_argument(args.cases + ": cannot be opened; give the path of a readable JSONL file");
  std::istream& in = args.cases == "-" ? std::cin : file;
  const std::string source = args.cases == "-" ? "standard input" : args.cases;
  Pool pool(options);
  Rows rows(pool, std::cout);
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) rows.add(read_case(line, source, number));
  }
  return 0;
}

}  // namespace hone
