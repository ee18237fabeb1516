// The fuzz target of the template engine: damaged templates must end in text or in an Error of its own. Built with
// -fsanitize=address,undefined, a finding stops the program; --file shows one template.
//   jinja_fuzz ITERATIONS SEED FOLDER_OF_TEMPLATES
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/models/text/jinja_mutator.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: jinja_fuzz ITERATIONS SEED FOLDER_OF_TEMPLATES\n";
    return 2;
  }
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(argv[3])) {
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    seeds.push_back(text.str());
  }
  hone::testing::TemplateMutator mutator(seeds, std::stoull(argv[2]));
  const auto variables = hone::testing::fuzz_variables();
  const long iterations = std::stol(argv[1]);
  long rendered = 0;
  for (long i = 0; i < iterations; ++i) {
    const std::string text = mutator.next();
    if (std::getenv("JINJA_FUZZ_LAST")) std::ofstream(std::getenv("JINJA_FUZZ_LAST")) << text;  // what it died of
    rendered += hone::testing::renders(text, variables);
  }
  std::printf("%ld mutated templates: %ld rendered, %ld refused\n", iterations, rendered, iterations - rendered);
}
