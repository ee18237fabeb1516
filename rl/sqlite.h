// A thin layer over SQLite for rl/run_store.h: owned handles, and errors that name the file and the remedy.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

namespace hone::sqlite {

struct Closer {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
using Database = std::unique_ptr<sqlite3, Closer>;

/// Throws std::runtime_error for the last error of `db`: file, what was being done, SQLite's reason, remedy.
[[noreturn]] void fail(sqlite3* db, const std::string& path, const std::string& doing);

/// `name` is a path or a URI of the file `path`. Waits up to 10 s for another program's lock in all that follows.
Database open_database(const std::string& name, const std::string& path, int flags);

/// Statements without values.
void execute(sqlite3* db, const std::string& path, const char* sql, const char* doing);

/// Throws when PRAGMA application_id says that a newer hone made the file: kApplicationId + its format.
inline constexpr int kApplicationId = 0x686f6e00;  // "hon" and a byte for the format; user_version is Trackio's
void check_version(sqlite3* db, const std::string& path, int newest);

/// A prepared statement. bind() fills the `?` from left to right. `path` must outlive it.
class Statement {
 public:
  Statement(sqlite3* db, const std::string& path, const char* sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int64_t value) { return checked(sqlite3_bind_int64(statement_, ++index_, value)); }
  Statement& bind(std::string_view text);
  /// What is no finite number is stored as NULL.
  Statement& bind(double value);
  Statement& bind(std::optional<double> value) { return bind(value.value_or(std::nan(""))); }
  template <class Number>
  Statement& bind_blob(const std::vector<Number>& values) {
    return bind_bytes(values.data(), values.size() * sizeof(Number));
  }

  /// True when there is a row.
  bool step();
  /// Executes and makes ready for the next values.
  void run();
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const { return reinterpret_cast<const char*>(sqlite3_column_text(statement_, column)); }

 private:
  Statement& bind_bytes(const void* data, size_t size);
  Statement& checked(int code);

  sqlite3* db_;
  const std::string& path_;
  sqlite3_stmt* statement_ = nullptr;
  int index_ = 0;
};

}  // namespace hone::sqlite
