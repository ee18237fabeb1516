#include "models/sha256.h"

#include <fstream>

#include <gtest/gtest.h>

namespace hone {
namespace {

// The examples of FIPS 180-4 (csrc.nist.gov) and the million a's.
TEST(Sha256, GivesTheStandardsExamples) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnThePieces) {
  const std::string text(300, 'x');
  for (size_t piece : {1u, 55u, 56u, 63u, 64u, 65u, 128u}) {
    Sha256 hash;
    for (size_t at = 0; at < text.size(); at += piece) hash.update(std::string_view(text).substr(at, piece));
    EXPECT_EQ(hash.finish(), sha256(text)) << piece;
  }
}

TEST(Sha256, OfAFile) {
  const auto file = std::filesystem::path(testing::TempDir()) / "sha256_test";
  std::ofstream(file) << "abc";
  EXPECT_EQ(sha256_of_file(file), sha256("abc"));
  std::filesystem::remove(file);
  EXPECT_THROW(sha256_of_file(file), std::runtime_error);
}

}  // namespace
}  // namespace hone
