/// What a firmware image says about the program counters and records in a trace.
public protocol TraceSymbols: Sendable {
    /// The functions' names as people write them, for suggestions.
    var functionNames: [String] { get }
    /// Where the code of the functions of a name is; empty if there is none.
    func ranges(ofFunction name: String) -> [Range<UInt32>]
    /// The function in which an address lies.
    func function(at pc: UInt32) -> String?
    /// The names of the firmware's kinds of records, by number.
    var recordKinds: [String] { get }
    /// The members of a record's payload and their values as people read them; nil if the image doesn't know the kind.
    func members(ofRecord kind: UInt16, _ arguments: [UInt32]) -> [(name: String, value: String)]?
}
