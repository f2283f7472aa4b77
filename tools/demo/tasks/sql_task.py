"""A table schema and a question -> one SQL statement."""

import tasks

TRADE = "table schema and question → one SQL statement"

INSTRUCTION = (
    "Write one SQL statement that answers the question about the table. Select only the columns asked for, or * when the "
    "question asks for whole rows. Text values go in single quotes. Answer with the SQL statement alone, in one line, "
    "ending with a semicolon."
)

# One entry a domain: (tables, number columns, {text column: values}).
DOMAINS = {
    "train": [
        (["employees", "contractors", "managers", "interns"], ["salary", "age", "bonus", "overtime"],
         {"department": ["Sales", "Finance", "Legal", "Research"], "position": ["analyst", "director", "clerk"]}),
        (["products", "gadgets", "spares"], ["price", "stock", "weight", "discount"],
         {"category": ["Toys", "Garden", "Kitchen"], "brand": ["Zenix", "Corvo", "Lumar"]}),
        (["students", "pupils", "apprentices"], ["grade", "absences", "credits"],
         {"school": ["Hillside", "Westwood"], "major": ["Physics", "History", "Biology"]}),
        (["flights", "charters"], ["distance", "seats", "delay", "fuel_used"],
         {"airline": ["Skyways", "Nordair"], "origin": ["Lisbon", "Oslo", "Cairo"]}),
        (["movies", "documentaries", "trailers"], ["runtime", "budget", "rating"],
         {"genre": ["comedy", "thriller", "western"], "studio": ["Paramont", "Bluefin"]}),
        (["patients", "visitors"], ["pulse", "visits", "body_temperature"],
         {"ward": ["North", "Surgery"], "diagnosis": ["flu", "asthma", "fracture"]}),
        (["houses", "apartments", "cabins"], ["rent", "floor_area", "bedrooms"],
         {"district": ["Harbor", "Old Town"], "heating": ["gas", "electric"]}),
        (["players", "goalkeepers"], ["goals", "assists", "matches_played"],
         {"team": ["Rovers", "United"], "nationality": ["Brazil", "Japan", "Kenya"]}),
        (["invoices", "payments", "refunds"], ["amount", "tax", "days_overdue"],
         {"status": ["paid", "open", "cancelled"], "currency": ["EUR", "USD"]}),
        (["cities", "villages"], ["population", "elevation", "founded_year"],
         {"country": ["Spain", "Chile", "India"], "climate": ["tropical", "arid"]}),
        (["servers", "routers"], ["memory_gb", "cpu_cores", "uptime"],
         {"region": ["east", "central"], "vendor": ["Acton", "Delphi"]}),
        (["recipes", "desserts"], ["calories", "cooking_time", "servings"],
         {"cuisine": ["Italian", "Thai"], "difficulty": ["easy", "hard"]}),
    ],
    "test": [
        (["trucks", "scooters", "tractors"], ["mileage", "horsepower", "torque"],
         {"engine": ["diesel", "hydrogen"], "maker": ["Tarvo", "Brennix"]}),
        (["books", "novels", "magazines"], ["pages", "copies_sold", "edition"],
         {"author": ["Ferrante", "Okafor"], "publisher": ["Inkwell", "Quarto"]}),
        (["lakes", "glaciers"], ["depth", "surface", "salinity"],
         {"continent": ["Africa", "Asia"], "basin": ["Volta", "Mekong"]}),
        (["hotels", "campsites"], ["rooms", "nightly_fee", "stars"],
         {"resort": ["Palmira", "Costa Verde"], "manager_name": ["Ibsen", "Moreau"]}),
        (["dogs", "horses"], ["height", "litter_size", "vaccinations"],
         {"breed": ["beagle", "poodle", "arabian"], "owner": ["Kowalski", "Nakamura"]}),
        (["paintings", "sculptures"], ["width", "insured_value", "century"],
         {"museum": ["Louvre", "Prado"], "style": ["baroque", "cubist"]}),
    ],
}

# (statement, questions asked in training, questions asked only in testing). {t} table; {n} a number column and
# {c} a text column, written with blanks in the question and with underscores in the statement; {v} a value of {c};
# {k} {j} whole numbers, k < j; {s} a small one.
INTENTS = [
    ("SELECT COUNT(*) FROM {t};",
     ["How many {t} are there?", "Count the {t}.", "What is the total number of {t}?", "Number of {t}?"],
     ["How many {t} do we have in all?", "Give me a count of all {t}."]),
    ("SELECT COUNT(*) FROM {t} WHERE {c} = '{v}';",
     ["How many {t} have {c} {v}?", "Count the {t} where the {c} is {v}.", "How many {t} are there with {c} {v}?"],
     ["What is the number of {t} whose {c} is {v}?", "Count all {t} with {c} {v}."]),
    ("SELECT COUNT(*) FROM {t} WHERE {n} > {k};",
     ["How many {t} have a {n} above {k}?", "Count the {t} with {n} over {k}.", "How many {t} have more than {k} {n}?"],
     ["What is the number of {t} with {n} greater than {k}?", "Count all {t} whose {n} is higher than {k}."]),
    ("SELECT * FROM {t} WHERE {n} > {k};",
     ["Which {t} have a {n} above {k}?", "Show all {t} with {n} over {k}.", "List the {t} whose {n} is greater than {k}.",
      "Find {t} with more than {k} {n}."],
     ["Show me every one of the {t} with {n} higher than {k}.", "Get the {t} where {n} exceeds {k}."]),
    ("SELECT * FROM {t} WHERE {n} < {k};",
     ["Which {t} have a {n} below {k}?", "Show all {t} with {n} under {k}.", "List the {t} whose {n} is less than {k}.",
      "Find {t} with fewer than {k} {n}."],
     ["Show me the {t} with {n} lower than {k}.", "Get the {t} where {n} is smaller than {k}."]),
    ("SELECT * FROM {t} WHERE {n} BETWEEN {k} AND {j};",
     ["Which {t} have a {n} between {k} and {j}?", "Show all {t} with {n} from {k} to {j}.",
      "List the {t} whose {n} lies between {k} and {j}."],
     ["Find the {t} with a {n} in the range {k} to {j}.", "Get {t} where {n} is between {k} and {j}."]),
    ("SELECT * FROM {t} WHERE {c} = '{v}';",
     ["Which {t} have {c} {v}?", "Show all {t} with {c} {v}.", "List the {t} whose {c} is {v}.",
      "Find {t} where the {c} is {v}."],
     ["Show me every row of {t} with {c} {v}.", "Get the {t} that have {v} as {c}."]),
    ("SELECT {n} FROM {t} WHERE {c} = '{v}';",
     ["What is the {n} of the {t} with {c} {v}?", "Show the {n} of {t} whose {c} is {v}.",
      "List the {n} of all {t} where {c} is {v}."],
     ["Give me the {n} of every one of the {t} with {c} {v}.", "Get the {n} for {t} with {c} {v}."]),
    ("SELECT AVG({n}) FROM {t};",
     ["What is the average {n} of the {t}?", "Average {n} of {t}?", "Compute the mean {n} of all {t}."],
     ["Tell me the average {n} over all {t}.", "What is the mean {n} for {t}?"]),
    ("SELECT MAX({n}) FROM {t};",
     ["What is the highest {n} of the {t}?", "What is the maximum {n} in {t}?", "Largest {n} of all {t}?"],
     ["Tell me the greatest {n} among the {t}.", "Give me the maximum {n} of {t}."]),
    ("SELECT MIN({n}) FROM {t};",
     ["What is the lowest {n} of the {t}?", "What is the minimum {n} in {t}?", "Smallest {n} of all {t}?"],
     ["Tell me the least {n} among the {t}.", "Give me the minimum {n} of {t}."]),
    ("SELECT SUM({n}) FROM {t};",
     ["What is the total {n} of the {t}?", "Add up the {n} of all {t}.", "What is the sum of {n} in {t}?"],
     ["Tell me the total {n} over all {t}.", "Sum the {n} of the {t}."]),
    ("SELECT AVG({n}) FROM {t} WHERE {c} = '{v}';",
     ["What is the average {n} of {t} with {c} {v}?", "Compute the mean {n} of the {t} whose {c} is {v}.",
      "Average {n} of {t} where {c} is {v}?"],
     ["Tell me the average {n} for {t} with {c} {v}.", "What is the mean {n} over the {t} that have {c} {v}?"]),
    ("SELECT * FROM {t} ORDER BY {n} DESC LIMIT {s};",
     ["Show the top {s} {t} by {n}.", "Which {s} {t} have the highest {n}?", "List the {s} {t} with the most {n}."],
     ["Give me the {s} {t} with the greatest {n}.", "What are the top {s} {t} in terms of {n}?"]),
    ("SELECT * FROM {t} ORDER BY {n} ASC LIMIT {s};",
     ["Show the bottom {s} {t} by {n}.", "Which {s} {t} have the lowest {n}?", "List the {s} {t} with the least {n}."],
     ["Give me the {s} {t} with the smallest {n}.", "What are the bottom {s} {t} in terms of {n}?"]),
    ("SELECT {c}, COUNT(*) FROM {t} GROUP BY {c};",
     ["How many {t} are there per {c}?", "Count the {t} for each {c}.", "Show the number of {t} by {c}."],
     ["How many {t} does each {c} have?", "Give me the count of {t} per {c}."]),
    ("SELECT {c}, AVG({n}) FROM {t} GROUP BY {c};",
     ["What is the average {n} per {c}?", "Show the mean {n} of {t} for each {c}.", "Average {n} of {t} by {c}?"],
     ["Give me the average {n} of the {t} for every {c}.", "What is the mean {n} per {c} in {t}?"]),
    ("SELECT DISTINCT {c} FROM {t};",
     ["What different {c} values do the {t} have?", "List the distinct {c} of {t}.", "Show every unique {c} in {t}."],
     ["Which distinct {c} values occur in {t}?", "Give me the unique {c} values of the {t}."]),
    ("SELECT {c}, {n} FROM {t} ORDER BY {n} DESC;",
     ["Show {c} and {n} of all {t}, highest {n} first.", "List the {c} and {n} of {t} by falling {n}.",
      "Give {c} and {n} of the {t}, sorted by {n} descending."],
     ["Show me the {c} and {n} of {t} from highest to lowest {n}.", "Get {c} and {n} of all {t}, in descending order of {n}."]),
    ("SELECT * FROM {t} WHERE {c} = '{v}' AND {n} > {k};",
     ["Which {t} with {c} {v} have a {n} above {k}?", "Show the {t} whose {c} is {v} and whose {n} is over {k}.",
      "List {t} where {c} is {v} and {n} is greater than {k}."],
     ["Find the {t} with {c} {v} and a {n} higher than {k}.", "Get all {t} having {c} {v} and more than {k} {n}."]),
    ("SELECT * FROM {t} WHERE {n} IS NULL;",
     ["Which {t} have no {n}?", "Show the {t} without a {n}.", "List the {t} where the {n} is missing."],
     ["Find {t} whose {n} is not set.", "Get all {t} that have no {n}."]),
    ("DELETE FROM {t} WHERE {c} = '{v}';",
     ["Delete the {t} with {c} {v}.", "Remove all {t} whose {c} is {v}.", "Drop every row of {t} where {c} is {v}."],
     ["Erase the {t} that have {c} {v}.", "Delete all rows in {t} with {c} {v}."]),
    ("UPDATE {t} SET {n} = {k} WHERE {c} = '{v}';",
     ["Set the {n} to {k} for {t} with {c} {v}.", "Change the {n} of all {t} whose {c} is {v} to {k}.",
      "Update {t} with {c} {v} to {n} {k}."],
     ["For the {t} with {c} {v}, set {n} to {k}.", "Make the {n} {k} for all {t} whose {c} is {v}."]),
]


def normal(text):
    return " ".join(tasks.strip_fence(text).rstrip(";").lower().split())


def example(rng, words, phrasing):
    tables, numbers, texts = rng.choice(DOMAINS[words])
    table = rng.choice(tables)
    number = rng.choice(numbers)
    text = rng.choice(list(texts))
    value = rng.choice(texts[text])
    columns = [number, text]
    columns += rng.sample([c for c in [*numbers, *texts] if c not in columns], rng.randint(1, 2))
    rng.shuffle(columns)
    low = rng.choice([rng.randint(2, 99), 10 * rng.randint(10, 90), 100 * rng.randint(5, 60)])
    slots = {"t": table, "v": value, "k": low, "j": low + rng.choice([5, 10, 50, 200]), "s": rng.randint(2, 12)}

    statement, trained, unseen = rng.choice(INTENTS)
    question = rng.choice(trained if phrasing == "train" else unseen)
    spoken = question.format(n=number.replace("_", " "), c=text.replace("_", " "), **slots)
    prompt = f"{table}({', '.join(columns)})\n{spoken}"
    completion = statement.format(n=number, c=text, **slots)
    return prompt, completion, {table, value, *columns}
