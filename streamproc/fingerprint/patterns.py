r"""The tables of the classifier: patterns over folded lower-case text that begins with a space.

Most patterns begin with fixed characters, not with `\b` or an optional group: the regular expression engine then skips
to where they are, some ten times as fast. Where a word must begin, a space before it or a look behind it says so.
"""

from __future__ import annotations

# What is elicited (in the contract's order), what one of the words must hold, the pattern. Asking for an explanation is
# ordinary; asking for the thinking in tags, for all of it, or for a chosen and a rejected answer is not.
ELICITS = (
    ("reasoning_trace", "think", r"<think(?:ing)?>|think(?:ing)? (?:process|trace|block|tags?)|think (?:out loud|aloud)"),
    ("reasoning_trace", "thought", r"chains?[- ]of[- ]thought|(?:every|each|all|full|raw|inner|internal) (?:of )?(?:your )?thoughts?\b|(?:your|full|complete|entire|detailed|whole) (?:\w+ ){0,2}thought process|inner monologue"),
    ("reasoning_trace", "reasoning", r"(?:full|complete|entire|raw|detailed|verbatim|hidden|internal|whole|inner|private) (?:\w+ )?reasoning|reasoning (?:trace|process|chain|tokens|steps)|<reasoning>|\"?reasoning\"? (?:field|key|section)"),
    ("reasoning_trace", "step", r"(?:think|reason)\w*(?: \w+){0,3} step by step"),
    ("reasoning_trace", "scratchpad", r"scratchpad"),
    ("answer_rationale", "rationale", r"(?:write|give|provide|produce|generate|output|return|include)(?: \w+){0,4} rationale|rationales? (?:that|which|for (?:the|this|each|your|why))|<rationale>"),
    ("answer_rationale", "correct", r"(?:given|here is|knowing|provided)(?: \w+){0,6} correct answer.{0,200}(?:explain|reason|why|justif|deriv|step)|(?:justify|reconstruct)(?: \w+){0,5} correct answer"),
    ("answer_rationale", "final", r"(?:the|known|given|this) final answer is.{0,160}(?:explain|reason|why|justif|deriv|step|solution)|(?:lead|leads|arrive)s? (?:to|at) (?:the|this) (?:given|known)? ?final answer"),
    ("answer_rationale", "reference", r"(?:explanation|reasoning|solution|derivation)(?: \w+){0,6} reference answer"),
    ("grading", "rubric", r"rubric.{0,200}\b(?:score|grade|rate|mark|point)s?\b|(?:score|grade|rate|mark|evaluate|assess)\w*.{0,200}rubric"),
    ("grading", "grade", r" (?:you are|act as|as) (?:a|an|the) (?:\w+ )?grader|grade (?:the|this|each|these|following)(?: \w+){0,4} (?:answer|response|solution|essay|output|submission|completion)"),
    ("grading", "judge", r"(?:you are|act as) (?:a|an|the)(?: \w+){0,3} judge.{0,300}(?:answer|response|output|assistant|solution)|judge (?:whether|if) (?:the|this)(?: \w+){0,3} (?:answer|response|output|solution)"),
    ("grading", "scale", r"(?:rate|score|evaluate|assess)\w*.{0,120}(?:answer|response|output|solution|completion).{0,120}scale (?:of|from)|scale (?:of|from).{0,160}(?:answer|response|completion)\b"),
    ("grading", "score", r"(?:score|assign a score to)(?: \w+){0,4} (?:model|assistant|candidate|student)(?:'s)? (?:answer|response|output|solution)|verdict.{0,60}score|score.{0,60}verdict"),
    ("reward", "reward", r"reward (?:model|score|signal|value|function for (?:the )?(?:response|answer))|scalar reward|assign a reward"),
    ("reward", "helpfulness", r"(?:score|rate|rating)\w*.{0,100}helpfulness.{0,100}(?:harmless|honest|truthful|correct|verbos|coheren)|helpfulness.{0,60}(?:correctness|coherence|harmlessness).{0,100}(?:score|rate|0-|1-|float|0 to|1 to)"),
    ("preference_pair", "better", r"which (?:of the )?(?:\w+ ){0,2}(?:response|answer|completion|output|assistant)s?(?: (?:is|are|was|would|be|do|does|you|find|think|seems|a|b|or|much)){0,4} better|(?:response|answer|assistant|completion|output) (?:a|b|1|2|one|two)\b.{0,400}\bbetter|better (?:response|answer|completion).{0,100}(?:worse|other)"),
    ("preference_pair", "chosen", r"chosen.{0,80}rejected"),
    ("preference_pair", "prefer", r"prefer(?:red|ence)?(?: \w+){0,3} (?:response|answer|completion|output|pair)s?\b|(?:response|answer|completion|output)s? (?:\w+ ){0,4}(?:you )?(?:would )?prefer"),
    ("preference_pair", "worse", r"(?:one|a) (?:good|better|strong)(?: \w+){0,3} and (?:one|a) (?:bad|worse|weak|flawed)|worse (?:response|answer|completion|version)"),
    ("refusal_probe", "refus", r"(?:would|will|do|did) you refuse|refus(?:e|al)s?.{0,80}(?:policy|policies|boundar|guideline|threshold|criteria|classif|label|why|reason)|(?:explain|tell me|list|state)\w*.{0,60}(?:refus)"),
    ("refusal_probe", "decline", r"(?:would|do) you decline|decline to (?:answer|help|respond).{0,100}(?:reason|why|label|which)"),
    ("refusal_probe", "allowed", r"(?:what|which|topics|things)(?: \w+){0,4} (?:you(?:'re| are) )?not allowed to (?:say|answer|discuss|help|do)"),
    ("refusal_probe", "comply", r"(?:would|will) you comply|comply or (?:refuse|decline)|(?:comply|refuse).{0,10}/.{0,10}(?:comply|refuse)"),
    ("rewrite", "rewrite", r"rewrite (?:the|this|each|your|following|these)(?: \w+){0,5} (?:instruction|prompt|question|problem|response|answer|query)|rewrite.{0,80}(?:more complex|harder|more challenging)"),
    ("rewrite", "paraphras", r"paraphrase.{0,60}(?:instruction|prompt|question|problem|response|answer|query|\d+ (?:different )?(?:ways|versions|times))|(?:\d+|five|ten|several) (?:\w+ )?paraphrases"),
    ("rewrite", "complex", r"(?:instruction|prompt|question|problem)s?.{0,120}more complex|more complex (?:version|variant|instruction|prompt)"),
    ("rewrite", "similar", r"(?:generate|create|write|produce)(?: \w+){0,4} (?:similar|new|diverse)(?: \w+){0,3} (?:instructions|prompts|questions|problems|tasks)\b"),
    ("rewrite", "diverse", r"(?:\d+|a set of|set of|more) (?:\w+ )?diverse(?: \w+){0,3} (?:instruction|prompt|question|problem|task)s?"),
    ("self_description", "prompt", r"(?:your|above|hidden|initial|entire|full|exact) (?:\w+ )?system prompt"),
    ("self_description", "instructions", r"(?:repeat|print|reveal|output|show)(?: \w+){0,4} (?:your|above|initial|previous)(?: \w+){0,2} instructions"),
    ("self_description", "model|version|llm|company|trained|created|built|made", r"wh(?:at|ich) (?:language |ai |exact )*(?:model|version|llm) (?:are|is) you|which company (?:made|trained|created|built) you|who (?:trained|created|built|made) you\b|how were you (?:trained|built|made)"),
    ("self_description", "your", r"your (?:own )?(?:training data|knowledge cut-?off|architecture|parameter count|constitution|values and|training process)"),
    ("self_description", "yourself", r"describe yourself as an? (?:ai|language)"),
)  # fmt: skip

# Class, weight, what one of the words must hold, the pattern. A class needs a sum of weights of 2.
TASKS = (
    ("code", 2, "def", r"def \w+ ?\("),
    ("code", 2, ">>>", r">>> ?\w"),
    ("code", 2, "```", r"```"),
    ("code", 2, "function", r"(?:write|implement|fix|complete|create|refactor|optimi[sz]e|generate)(?: \w+){0,5} function\b"),
    ("code", 2, "function", r"function \w+ ?\("),
    ("code", 2, "public", r"public (?:static )?\w+ \w+\("),
    ("code", 2, "class", r"class \w+ ?[{:(]"),
    ("code", 2, "import", r" import [\w.]+(?:;| as | \w+$)"),
    ("code", 2, "import", r"from [\w.]+ import "),
    ("code", 2, "using", r"using (?:namespace|system)"),
    ("code", 2, "package", r" package \w+(?:;| import)"),
    ("code", 2, "#include", r"#include"),
    ("code", 2, "code", r"(?:write|fix|debug|review|refactor|complete|explain|optimi[sz]e)(?: \w+){0,4} code\b"),
    ("code", 2, "code", r"code(?: (?:review|snippet|base)|(?<=source code))"),
    ("code", 2, "python", r" in python\b|python (?:function|script|code|program|class)"),
    ("code", 2, "sql", r"sql (?:query|statement)|in sql\b"),
    ("code", 2, "script", r"(?:bash|shell|javascript|typescript|powershell) (?:script|function|code|one-liner)|in (?:javascript|typescript)\b"),
    ("code", 2, "test", r"unit tests?\b|stack ?trace|failing test"),
    ("code", 2, "program", r"(?:write|fix|implement)(?: \w+){0,4} program\b"),
    ("code", 2, "regex", r"regex\b"),
    ("reasoning", 2, "many", r"how many\b"),
    ("reasoning", 1, "much", r"how much\b"),
    ("reasoning", 1, "how", r"how (?:long|far|old|tall|fast|big|heavy|large|often)\b"),
    ("reasoning", 1, r"\d", r"[0-9][.,]*+[^\d.,](?:\D{0,120}+\d|\D{0,120}?\b(?:twice|half|third|times|double|dozen)\b)"),
    ("reasoning", 1, "what", r"what (?:is|was|are|percentage|fraction|will|would|number|total)\b"),
    ("reasoning", 2, "prove", r"prove(?<!\wprove) (?:that|the)\b"),
    ("reasoning", 2, "solve", r"solve(?<!\wsolve) (?:the|this|for|following|each)"),
    ("reasoning", 1, "total", r"total(?: (?:number|cost|amount|weight)|(?<=in total))\b"),
    ("reasoning", 1, "each", r"each(?<!\weach)\b"),
    ("reasoning", 1, "calculate", r"c(?:alculate|ompute)\b"),
    ("reasoning", 2, "equation", r"equation\b"),
    ("reasoning", 2, "logic", r"logic (?:puzzle|problem)|logical"),
    ("writing", 3, "poem|story|essay|e-?mail|letter|article|blog|haiku|song|speech|review|paragraph|novel|lyrics|post|tweet|sentence|advertisement|slogan|description|bio|summary", r"(?:write|compose|draft)(?: \w+){0,4} (?:poem|story|essay|email|e-mail|letter|article|blog|haiku|song|speech|review|paragraph|novel|lyrics|post|tweet|sentence|advertisement|slogan|description|biography|bio|summary)"),
    ("writing", 3, "poem", r" (?:a|the) (?:\w+ )?poem\b"),
    ("writing", 2, "haiku", r"haiku"),
    ("writing", 2, "rewrite", r"re(?:write|word)\b"),
    ("writing", 2, "translate", r"translate\b"),
    ("writing", 2, "proofread", r"proofread|correct the grammar"),
    ("data", 3, "extract", r"extract\b"),
    ("data", 3, "classify", r"c(?:lassify|ategori[sz]e)\b"),
    ("data", 2, "json", r" (?:as|in|to|into|valid|return|output) (?:a )?json\b"),
    ("data", 2, "csv", r"csv\b"),
    ("data", 2, "table", r"(?:following|into a|as a|this) table\b"),
    ("data", 2, "sentiment", r"sentiment\b"),
    ("data", 2, "summar", r"summari[sz]e\b"),
)  # fmt: skip

# A system prompt of a program that works on its own.
AGENT = r"\b(?:agent|agentic|autonomous|coding assistant|cli tool|working directory|your tools)\b"
