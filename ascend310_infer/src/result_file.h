#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

namespace maskrcnn {

/// A JSON list that grows record by record under the name NAME.partial.json and gets its own name, NAME.json, only when
/// it is whole. All functions throw Error where the file cannot be written.
class ResultFile {
public:
    /// `path` ends in .json. A file of that name is left alone until publish().
    explicit ResultFile(std::filesystem::path path);
    /// Closes the list, if that has not been done: what is in it can be read, its name says that it is not all.
    ~ResultFile();
    ResultFile(const ResultFile&) = delete;
    ResultFile& operator=(const ResultFile&) = delete;

    void append(std::string_view record);
    /// End the list and wait until it is on the disk.
    void close();
    /// Give the closed file its name.
    void publish();

    const std::filesystem::path& partial_path() const { return partial_; }

private:
    struct Closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    void write(std::string_view text);

    std::filesystem::path path_;
    std::filesystem::path partial_;
    std::unique_ptr<std::FILE, Closer> file_;
    bool empty_ = true;
};

/// Write a whole text file, all or nothing. Throws Error.
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace maskrcnn
