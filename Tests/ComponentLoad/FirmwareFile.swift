import Scratch

/// The bytes of a firmware image: of the file that the first argument names, or of the one that tools/firmware has built.
public func firmwareFile() throws -> [UInt8] {
    try readFile(CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "build/firmware/offload-manager.elf")
}

/// An argument that is a number.
public func argument<Number: FixedWidthInteger>(_ place: Int, default number: Number) -> Number {
    CommandLine.arguments.count > place ? Number(CommandLine.arguments[place]) ?? number : number
}
