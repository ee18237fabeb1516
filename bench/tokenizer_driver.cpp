// Tokenizers without LibTorch, for checks and measurements.
//   tokenizer_driver tokenize --model DIR [--decode] [--no-special]   as `hone tokenize`
//   tokenizer_driver pieces --model DIR       {"token_ids"} to {"pieces"}: what StreamDecoder gives for each id, then
//   the rest tokenizer_driver vocabulary --model DIR   {"id","bytes"} for every token, the bytes in hexadecimal
//   tokenizer_driver time --model DIR --text FILE --out FILE [--rounds N]
//       encodes the texts of the file, with a zero byte between them, N times, prints {"seconds":[..],"tokens"}, writes
//       the ids as int32
#include <chrono>
#include <fstream>
#include <iostream>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/tokenizer.h"

namespace {

using hone::Tokenizer;
using nlohmann::json;

struct Args {
  std::string verb, model, text, out;
  bool decode = false, no_special = false;
  int rounds = 3;
};

Args read_args(int argc, char** argv) {
  Args args;
  if (argc > 1) args.verb = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : throw std::invalid_argument(flag + " needs a value"); };
    if (flag == "--model") args.model = value();
    else if (flag == "--text") args.text = value();
    else if (flag == "--out") args.out = value();
    else if (flag == "--rounds") args.rounds = std::stoi(value());
    else if (flag == "--decode") args.decode = true;
    else if (flag == "--no-special") args.no_special = true;
    else throw std::invalid_argument("unknown flag " + flag);
  }
  return args;
}

template <class Answer>
void for_each_row(const Answer& answer) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << answer(json::parse(line)).dump() << '\n';
  }
}

json answer(const Tokenizer& tokenizer, const Args& args, const json& row) {
  if (args.decode) return {{"text", tokenizer.decode(row["token_ids"].get<std::vector<int32_t>>())}};
  return {{"token_ids", tokenizer.encode(row["text"].get_ref<const std::string&>(), !args.no_special)}};
}

json pieces(const Tokenizer& tokenizer, const json& row) {
  hone::StreamDecoder stream(tokenizer);
  json list = json::array();
  for (const json& id : row["token_ids"]) list.push_back(stream.push(id.get<int32_t>()));
  list.push_back(stream.finish());
  return {{"pieces", list}};
}

void print_vocabulary(const Tokenizer& tokenizer) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    std::string bytes;
    try {
      for (const char c : tokenizer.id_to_bytes(id)) bytes += fmt::format("{:02x}", static_cast<unsigned char>(c));
    } catch (const std::invalid_argument&) {
      continue;  // a gap
    }
    std::cout << fmt::format("{{\"id\":{},\"bytes\":\"{}\"}}\n", id, bytes);
  }
}

std::vector<std::string_view> texts_of(std::string_view file) {
  std::vector<std::string_view> texts;
  for (size_t end; (end = file.find('\0')) != std::string_view::npos; file.remove_prefix(end + 1)) {
    texts.push_back(file.substr(0, end));
  }
  texts.push_back(file);
  return texts;
}

void time_encoding(const Tokenizer& tokenizer, const Args& args) {
  const std::string file = hone::read_file(args.text);
  const auto texts = texts_of(file);
  std::vector<int32_t> ids;
  std::vector<double> seconds;
  for (int round = 0; round < args.rounds; ++round) {
    ids.clear();
    const auto begin = std::chrono::steady_clock::now();
    for (const std::string_view part : texts) {
      const auto more = tokenizer.encode(part, false);
      ids.insert(ids.end(), more.begin(), more.end());
    }
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  hone::write_file_atomic(args.out, std::string_view(reinterpret_cast<const char*>(ids.data()), 4 * ids.size()));
  std::cout << json{{"seconds", seconds}, {"tokens", ids.size()}}.dump() << '\n';
}

int run(const Args& args) {
  const auto begin = std::chrono::steady_clock::now();
  const Tokenizer tokenizer = Tokenizer::from_file(args.model + "/tokenizer.json");
  const std::chrono::duration<double> loading = std::chrono::steady_clock::now() - begin;
  if (args.verb == "tokenize") for_each_row([&](const json& row) { return answer(tokenizer, args, row); });
  else if (args.verb == "pieces") for_each_row([&](const json& row) { return pieces(tokenizer, row); });
  else if (args.verb == "vocabulary") print_vocabulary(tokenizer);
  else if (args.verb == "time") time_encoding(tokenizer, args);
  else throw std::invalid_argument("the first argument is tokenize, pieces, vocabulary or time");
  std::cerr << fmt::format("loaded in {:.3f} s\n", loading.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  try {
    return run(read_args(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "tokenizer_driver: " << error.what() << '\n';
    return 1;
  }
}
