import Glibc

/// The bytes of a firmware image: of the file that the first argument names, or of the one that tools/firmware has built.
public func firmwareFile() throws -> [UInt8] {
    let path = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "build/firmware/offload-manager.elf"
    guard let file = fopen(path, "rb") else { throw DiskLoad.Fault(description: "\(path): \(String(cString: strerror(errno)))") }
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: max(ftell(file), 0))
    rewind(file)
    guard fread(&bytes, 1, bytes.count, file) == bytes.count else { throw DiskLoad.Fault(description: "\(path) can't be read") }
    return bytes
}

/// An argument that is a number.
public func argument<Number: FixedWidthInteger>(_ place: Int, default number: Number) -> Number {
    CommandLine.arguments.count > place ? Number(CommandLine.arguments[place]) ?? number : number
}
